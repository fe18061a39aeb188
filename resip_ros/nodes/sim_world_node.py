# SPDX-License-Identifier: Apache-2.0
"""The simulated world as a node: clock, part poses, state for the cameras, re-placing parts."""

from __future__ import annotations

import re
import sys
import threading
from collections import deque
from dataclasses import dataclass

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseStamped
from rosgraph_msgs.msg import Clock
from std_msgs.msg import Float64MultiArray, String
from std_srvs.srv import Trigger

from resip_ros.core import events, messages
from resip_ros.core.errors import ConfigError, ResipError
from resip_ros.nodes import topics
from resip_ros.nodes.node_main import StackNode, run_node
from resip_ros.nodes.parameters import declare_parameters, parameter
from resip_ros.robot.history import KEPT_S
from resip_ros.robot.world import SimulatedWorld, WorldSnapshot

NS_PER_MS = 1_000_000
CLOCK_PERIOD_MS = 10
CAMERA_PERIOD_MS = 20
BACKLOG = 100
ADDRESS = re.compile(r"[A-Za-z0-9:-]+(\.[A-Za-z0-9:-]+)*")
LONGEST_ADDRESS = 63


@dataclass(frozen=True)
class SimWorldParameters:
    """ROS parameters of the simulated world."""

    task: str = parameter("one_leg", "task whose parts are on the bench")
    robot_address: str = parameter(
        "127.0.0.1",
        "loopback address on which the simulated robot answers; of each arm, with commas between",
        name="robot.address",
    )
    randomness: str = parameter("low", "spread of the initial states: low, med or high")
    realtime_factor: float = parameter(
        1.0, "simulated over wall time that is aimed at", low=0.05, high=10.0
    )
    parts_rate_hz: float = parameter(50.0, "part poses per second", low=10.0, high=100.0)
    seed: int = parameter(
        0, "seed of the initial state that ~/place_parts takes next", low=0, high=2**31, live=True
    )
    undo_s: float = parameter(
        3.0, "how far ~/undo goes back, simulated s", low=0.1, high=KEPT_S, live=True
    )


class SimWorldNode(StackNode):
    """Hosts the physics; its callbacks only read copies and hand over jobs."""

    def __init__(self, **kwargs: object) -> None:
        super().__init__("sim_world", **kwargs)
        self.parameters = declare_parameters(self, SimWorldParameters)
        self._world: SimulatedWorld | None = None
        self._thread: threading.Thread | None = None
        self._closing = False
        self._ready = threading.Condition()
        self._snapshots: deque[WorldSnapshot] = deque(maxlen=BACKLOG)

    def configure(self) -> None:
        """Builds the world, binds the robot's ports, starts the physics.

        Raises:
            ResipError: for an unknown task, what is no address, or when the ports are taken.
        """
        addresses = self.parameters.robot_address.split(",")
        for address in addresses:
            if len(address) > LONGEST_ADDRESS or not ADDRESS.fullmatch(address):
                raise ConfigError(
                    f"parameter robot.address has {address!r:.80}; expected a loopback address "
                    "such as 127.0.0.2 for each arm, with commas between"
                )
        self._world = SimulatedWorld(
            self.parameters.task,
            self.parameters.seed,
            realtime_factor=self.parameters.realtime_factor,
            randomness=self.parameters.randomness,
            addresses=addresses,
            step_hook=self._take_snapshot,
        )
        self._parts_period_ms = round(1000 / self.parameters.parts_rate_hz)
        self._was_success = False
        self._clock_topic = self.create_publisher(Clock, topics.CLOCK, topics.stream_qos())
        self._state = self.create_publisher(
            Float64MultiArray, topics.SIM_STATE, topics.stream_qos()
        )
        self._parts = {
            name: self.create_publisher(PoseStamped, topics.part_pose(name), topics.stream_qos())
            for name in self._world.task.observed
        }
        self._events = self.create_publisher(String, topics.EPISODE_EVENT, topics.latched_qos())
        self.create_service(Trigger, "~/place_parts", self._place_parts)
        self.create_service(Trigger, "~/undo", self._undo)
        self._thread = threading.Thread(target=self._publish, daemon=True, name="publish")
        self._thread.start()
        self._world.start()
        self.get_logger().info(f"simulated robot answers on {self._world.hostname}")

    def close(self) -> None:
        """Stops publishing and the physics."""
        with self._ready:
            self._closing = True
            self._ready.notify()
        if self._thread is not None:
            self._thread.join()
        if self._world is not None:
            statistics = self._world.statistics()
            self._world.stop()
            if statistics.ticks:
                self.get_logger().info(f"physics: {statistics}")

    def _take_snapshot(self, snapshot: WorldSnapshot) -> None:
        """Called by the physics thread; leaves the work to the publishing thread."""
        if round(snapshot.sim_time_s * 1000) % CLOCK_PERIOD_MS == 0:
            with self._ready:
                self._snapshots.append(snapshot)
                self._ready.notify()

    def _publish(self) -> None:
        while True:
            with self._ready:
                self._ready.wait_for(lambda: self._closing or bool(self._snapshots))
                if self._closing:
                    return
                snapshot = self._snapshots.popleft()
            self._publish_snapshot(snapshot)

    def _publish_snapshot(self, snapshot: WorldSnapshot) -> None:
        world = self._world
        assert world is not None
        time_ms = round(snapshot.sim_time_s * 1000)
        stamp_ns = time_ms * NS_PER_MS
        if time_ms % self._parts_period_ms == 0:
            for name, pose in world.part_poses(snapshot).items():
                message = PoseStamped()
                messages.fill_header_inplace(message.header, stamp_ns, messages.BASE_FRAME)
                messages.fill_pose_inplace(message.pose, pose)
                self._parts[name].publish(message)
        stamp = Time()
        messages.fill_stamp_inplace(stamp, stamp_ns)
        self._clock_topic.publish(Clock(clock=stamp))
        if time_ms % CAMERA_PERIOD_MS == 0:
            values = np.concatenate(
                [[snapshot.sim_time_s], snapshot.qpos, snapshot.mocap_pos.ravel()]
            )
            self._state.publish(Float64MultiArray(data=values.tolist()))
        if time_ms % self._parts_period_ms == 0:
            self._watch_success(stamp_ns)

    def _watch_success(self, stamp_ns: int) -> None:
        assert self._world is not None
        is_success = self._world.success()
        if is_success and not self._was_success:
            self._emit(events.SUCCEEDED, stamp_ns, "all pairs are assembled")
        self._was_success = is_success

    def _emit(self, kind: str, stamp_ns: int, detail: str) -> None:
        self._events.publish(String(data=events.EpisodeEvent(kind, stamp_ns, detail).to_json()))

    def _place_parts(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        """Puts the parts to the initial state of parameter ``seed``."""
        assert self._world is not None
        seed = int(self.get_parameter("seed").value or 0)
        try:
            self._world.place_parts(0, seed=seed)
        except ResipError as error:
            response.success, response.message = False, str(error)
            return response
        self._was_success = False
        stamp_ns = round(self._world.sim_time_s * 1000) * NS_PER_MS
        self._emit(events.PLACED, stamp_ns, f"seed {seed}")
        response.success, response.message = True, f"parts placed by seed {seed}"
        return response

    def _undo(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        """Takes the bench back by parameter ``undo_s``; an arm that is led needs ~/recover."""
        assert self._world is not None
        seconds = float(self.get_parameter("undo_s").value or 0.0)
        try:
            restored_ns = round(self._world.undo(seconds) * 1000) * NS_PER_MS
        except ResipError as error:
            response.success, response.message = False, str(error)
            return response
        self._was_success = False
        stamp_ns = round(self._world.sim_time_s * 1000) * NS_PER_MS
        self._emit(events.UNDONE, stamp_ns, str(restored_ns))
        response.success = True
        response.message = f"back by {(stamp_ns - restored_ns) / 1e9:.1f} s"
        return response


def main() -> int:
    """Entry point of the `sim_world` command."""
    return run_node(SimWorldNode)


if __name__ == "__main__":
    sys.exit(main())
