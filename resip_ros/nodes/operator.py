# SPDX-License-Identifier: Apache-2.0
"""What a person does at the bench, as a node of `resip up`: home, place, start, watch, stop."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

from rcl_interfaces.srv import SetParameters
from rclpy.client import Client
from rclpy.experimental.events_executor import EventsExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image
from std_msgs.msg import String
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from resip_ros.core import events, messages
from resip_ros.core.action import action_names
from resip_ros.core.chunking import NS_PER_S
from resip_ros.core.errors import ResipError
from resip_ros.core.geometry import Array
from resip_ros.core.results import EpisodeResult, RunResult
from resip_ros.core.tasks import TaskSpec
from resip_ros.nodes import latency, topics
from resip_ros.nodes.bench_files import camera_names, view_camera
from resip_ros.nodes.first_pictures import wait_for_pictures
from resip_ros.nodes.launcher import NodeCrashed
from resip_ros.nodes.policy_slot import parse_active
from resip_ros.nodes.readiness import TookTooLong, wait_for_recorder
from resip_ros.nodes.recording import EpisodeRecording
from resip_ros.nodes.success import SuccessWatch
from resip_ros.nodes.table import Graph

BRIDGE = "franka_bridge"
WORLD = "sim_world"
BASE = "base_policy"
RECORDER = "recorder"
REPORTERS = (BRIDGE, BASE, "residual_policy")
READY_TIMEOUT_S = 90.0
HOME_TIMEOUT_S = 60.0
HOME_ATTEMPTS = 3
SERVICE_TIMEOUT_S = 20.0
REPORT_TIMEOUT_S = 5.0
FIRST_ACTION_S = 15.0
# parts that were just placed and an arm that just homed come to rest
SETTLE_NS = NS_PER_S // 2
# wall time per simulated time after which a stalled clock is given up
SLOWEST_CLOCK = 20.0
VIDEO_CAMERA = "overview"
"""Where no file of cameras has another."""


class Operator:
    """Runs episodes on a graph that others have started; uses only its topics and services."""

    def __init__(self, graph: Graph, task: TaskSpec, check: Callable[[], None]) -> None:
        """Opens topics and clients.

        Args:
            graph: The running graph.
            task: Gives rate, length and goal.
            check: Raises when a node of the graph has crashed; called while waiting.
        """
        self._graph, self._task, self._check = graph, task, check
        self._node = Node(
            "operator",
            namespace=topics.NAMESPACE,
            parameter_overrides=[Parameter("use_sim_time", value=graph.is_sim)],
        )
        self._executor = EventsExecutor()
        self._executor.add_node(self._node)
        self._events: list[events.EpisodeEvent] = []
        self._reports: list[events.NodeReport] = []
        self._active: set[str] = set()
        self._clients: dict[str, Client] = {}
        self._recording: EpisodeRecording | None = None
        self._fault: events.EpisodeEvent | None = None
        self.is_asked_to_end = False
        """Set by a person at the bench: the episode ends now."""
        self._success = SuccessWatch(self._node, task)
        self._subscribe()

    def _subscribe(self) -> None:
        node, latched = self._node, topics.latched_qos()
        node.create_subscription(String, topics.EPISODE_EVENT, self._on_event, latched)
        node.create_subscription(String, topics.EPISODE_REPORT, self._on_report, latched)
        node.create_subscription(String, topics.POLICY_ACTIVE, self._on_active, latched)
        for topic, series in ((topics.NET_ACTION, "net"), (topics.BASE_ACTION, "base")):
            node.create_subscription(
                JointTrajectory, topic, self._action_callback(series), topics.stream_qos(5)
            )
        video = topics.image(view_camera(self._graph.camera_config, VIDEO_CAMERA))
        node.create_subscription(Image, video, self._on_image, topics.image_qos())

    def attach(self, node: Node) -> None:
        """Runs another node's callbacks too, whenever this one waits."""
        self._executor.add_node(node)

    def detach(self, node: Node) -> None:
        """Ends that."""
        self._executor.remove_node(node)

    def close(self) -> None:
        """Destroys the node."""
        self._executor.remove_node(self._node)
        self._executor.shutdown(timeout_sec=1.0)
        self._node.destroy_node()

    # ---- callbacks ----

    def _on_event(self, message: String) -> None:
        with self._dropping_bad_messages():
            self._events.append(events.parse_event(message.data))

    def _on_report(self, message: String) -> None:
        with self._dropping_bad_messages():
            self._reports.append(events.parse_report(message.data))

    def _on_active(self, message: String) -> None:
        with self._dropping_bad_messages():
            self._active.add(parse_active(message.data).node)

    def _action_callback(self, series: str) -> Callable[[JointTrajectory], None]:
        def callback(message: JointTrajectory) -> None:
            if self._recording is None:
                return
            with self._dropping_bad_messages():
                stamp_ns, action = messages.decode_action_message(
                    message, self._task.rate_hz, action_names(self._task)
                )
                rows: dict[int, Array] = getattr(self._recording, series)
                rows[stamp_ns] = action

        return callback

    def _on_image(self, message: Image) -> None:
        if self._recording is None:
            return
        with self._dropping_bad_messages():
            self._recording.add_picture(*messages.decode_image(message))

    @contextlib.contextmanager
    def _dropping_bad_messages(self) -> Iterator[None]:
        """Logs what is wrong with a message that others sent, and goes on."""
        try:
            yield
        except ResipError as error:
            self._node.get_logger().error(f"dropped: {error}", throttle_duration_sec=5.0)

    # ---- waiting ----

    def now_ns(self) -> int:
        """ROS time, ns."""
        return self._node.get_clock().now().nanoseconds

    def wait(self, done: Callable[[], Any], timeout_s: float, what: str) -> None:
        """Handles messages until ``done()``.

        Raises:
            TookTooLong: on time-out (wall clock).
            NodeCrashed: when a node has.
        """
        deadline = time.monotonic() + timeout_s
        while not done():
            self._executor.spin_once(timeout_sec=0.05)
            self._check()
            if time.monotonic() > deadline:
                raise TookTooLong(f"{what} took longer than {timeout_s:.0f} s; see the logs")

    def call(self, node: str, service: str) -> str:
        """Calls a Trigger service.

        Raises:
            ResipError: when it fails, with its message.
        """
        response = self._ask(Trigger, f"{node}/{service}", Trigger.Request())
        if response is None or not response.success:
            reason = response.message if response is not None else "no answer"
            raise ResipError(f"{node}/{service} failed: {reason}")
        return response.message

    def _set_seed(self, node: str, seed: int) -> None:
        request = SetParameters.Request(
            parameters=[Parameter("seed", value=seed).to_parameter_msg()]
        )
        response = self._ask(SetParameters, f"{node}/set_parameters", request)
        reasons = [r.reason for r in response.results if not r.successful]
        if reasons:
            raise ResipError(f"{node} refused the seed {seed}: {reasons[0]}")

    def _ask(self, kind: Any, name: str, request: Any) -> Any:
        """Calls a service; its client is kept: every process remembers those that come and go.

        Raises:
            ResipError: when it does not appear or answer in time.
        """
        client = self._client(kind, name)
        self.wait(client.service_is_ready, READY_TIMEOUT_S, f"{name} to appear")
        future = client.call_async(request)
        try:
            self.wait(future.done, SERVICE_TIMEOUT_S, name)
        except ResipError:
            client.remove_pending_request(future)
            raise
        return future.result()

    def _client(self, kind: Any, name: str) -> Client:
        if name not in self._clients:
            self._clients[name] = self._node.create_client(kind, name)
        return self._clients[name]

    def wait_until_ready(self) -> None:
        """Waits for bridge, policies, recorder, and pictures of cameras that were given.

        Raises:
            ResipError: on time-out, or when a node has crashed.
        """
        client = self._client(Trigger, f"{BRIDGE}/start")
        self.wait(client.service_is_ready, READY_TIMEOUT_S, "starting the bridge")
        if self._graph.policy:
            self.wait(lambda: len(self._active) >= 2, READY_TIMEOUT_S, "loading the policies")
        if self._graph.is_sim:
            self.wait(lambda: self.now_ns() > 0, READY_TIMEOUT_S, "starting the clock")

        if self._graph.record:
            wait_for_recorder(self._node, self._task, RECORDER, self.wait)
        if self._graph.camera_config:
            recorder = RECORDER if self._graph.record else ""
            cameras = camera_names(self._graph.camera_config)
            wait_for_pictures(self._node, cameras, recorder, self.wait)

    # ---- episodes ----

    def prepare(self, seed: int) -> None:
        """Homes the arm, places the parts (a person does on a real bench), seeds the policy."""
        fault, self._fault = self._fault, None
        if fault is not None and not self._graph.is_sim:
            raise ResipError(
                f"the last episode ended by a fault: {fault.detail}; look at the arm, call "
                f"{BRIDGE}/recover and {BRIDGE}/home, then run again"
            )
        self._home()
        if self._graph.is_sim:
            self._set_seed(WORLD, seed)
            self.call(WORLD, "place_parts")
        if self._graph.policy:
            self._set_seed(BASE, seed)
        settled_ns = self.now_ns() + SETTLE_NS
        self.wait(lambda: self.now_ns() >= settled_ns, 30.0, "settling")

    def _home(self) -> None:
        """Homes the arm; beside a simulated one stands nobody, so its faults are recovered here.

        Raises:
            ResipError: when it does not get there.
        """
        if not self._graph.is_sim:
            self._try_home()
            return
        for attempts_left in reversed(range(HOME_ATTEMPTS)):
            try:
                # frees an arm that is wedged against a part
                self.call(WORLD, "place_parts")
                self.call(BRIDGE, "recover")
                self._try_home()
                break
            except NodeCrashed:
                raise
            except ResipError:
                if not attempts_left:
                    raise

    def _try_home(self) -> None:
        self._events.clear()
        self.call(BRIDGE, "home")
        self.wait(lambda: self._seen(events.HOMED, events.FAULT), HOME_TIMEOUT_S, "homing")
        if not self._seen(events.HOMED):
            fault = self._find(events.FAULT)
            reason = fault.detail if fault is not None else "unknown"
            raise ResipError(f"the arm did not reach home: {reason}")

    def run_episode(
        self, seed: int, max_steps: int, on_step: Callable[[float], None]
    ) -> tuple[EpisodeResult, EpisodeRecording, float]:
        """One episode from start to stop.

        Args:
            seed: Recorded in the result; ``prepare`` has used it.
            max_steps: Time limit in policy steps, from the first action as in training.
            on_step: Called with the share of the time limit that has passed.

        Returns:
            Result, recording, and ROS time per wall time.
        """
        self._events.clear()
        self._reports.clear()
        self._success.reset()
        self.is_asked_to_end = False
        recording = EpisodeRecording(start_ns=self.now_ns())
        self.call(BRIDGE, "start")
        self._recording = recording
        wall_s = time.monotonic()
        limit_ns = round(max_steps / self._task.rate_hz * NS_PER_S)

        began_ns: int | None = None

        def is_over() -> bool:
            nonlocal began_ns
            if began_ns is None and recording.net:
                began_ns = self.now_ns()
            passed_ns = 0 if began_ns is None else self.now_ns() - began_ns
            on_step(passed_ns / limit_ns)
            if not recording.net and time.monotonic() - wall_s > FIRST_ACTION_S:
                self.call(BRIDGE, "stop")
                raise ResipError(
                    f"no action was seen within {FIRST_ACTION_S:.0f} s of the start and the "
                    "episode was stopped; the logs of base_policy and residual_policy say "
                    "what they lack"
                )
            ended = self._success.is_assembled or self._seen(events.FAULT)
            return ended or self.is_asked_to_end or passed_ns >= limit_ns

        limit_s = limit_ns / NS_PER_S
        self.wait(is_over, SLOWEST_CLOCK * limit_s + 30.0, "the episode")
        end_ns, wall_s = self.now_ns(), time.monotonic() - wall_s
        self._recording = None
        self._fault = fault = self._find(events.FAULT)
        success = self._success.is_assembled
        self.call(BRIDGE, "stop")
        self._wait_for_reports()
        seconds = (end_ns - recording.start_ns) / NS_PER_S
        reason = "ended by a person" if self.is_asked_to_end else "time limit"
        reason = "success" if success else fault.detail if fault is not None else reason
        steps = self.count(BRIDGE, "commands")
        result = EpisodeResult(success, steps, round(seconds, 3), seed, reason)
        return result, recording, seconds / wall_s

    def undo(self) -> str:
        """Takes the simulated bench some seconds back, and goes on with the episode there.

        Raises:
            ResipError: when it cannot; then the episode ends.
        """
        text = self.call(WORLD, "undo")
        self.wait(lambda: self._seen(events.FAULT), SERVICE_TIMEOUT_S, "the arm to be released")
        self.call(BRIDGE, "recover")
        self._events.clear()
        self.call(BRIDGE, "start")
        return text

    def _wait_for_reports(self) -> None:
        """Waits for the nodes' figures; a node that was stopped by a fault has sent them."""
        deadline = time.monotonic() + REPORT_TIMEOUT_S
        expected = set(REPORTERS) if self._graph.policy else {BRIDGE}
        while not expected <= {r.node for r in self._reports} and time.monotonic() < deadline:
            self._executor.spin_once(timeout_sec=0.05)

    def collect(self, run: RunResult) -> None:
        """Adds the nodes' figures of the last episode to the run's."""
        for report in self._reports:
            run.chunk_latency_ms += report.latency_ms.get("chunk", [])
            run.action_latency_ms += report.latency_ms.get("action", [])
            run.tick_latency_ms += report.latency_ms.get("tick", [])
            run.late_ticks += report.counts.get("late", 0)
            run.ticks += report.counts.get("ticks", 0)
            run.refused_commands += report.counts.get("refused", 0)
            run.chunks_ahead += report.counts.get("ahead", 0)
            run.control_success.add(report.latency_ms.get(latency.CONTROL_SUCCESS, []))
        run.add_times(latency.join_hops(self._reports), latency.join_periods(self._reports))

    def latencies_ms(self, node: str, name: str) -> list[float]:
        """What a node measured in the last episode, ms."""
        found = [r.latency_ms.get(name, []) for r in self._reports if r.node == node]
        return [value for values in found for value in values]

    def count(self, node: str, name: str) -> int:
        """A count of the last episode."""
        return sum(r.counts.get(name, 0) for r in self._reports if r.node == node)

    def _seen(self, *kinds: str) -> bool:
        return any(event.kind in kinds for event in self._events)

    def _find(self, kind: str) -> events.EpisodeEvent | None:
        return next((event for event in self._events if event.kind == kind), None)
