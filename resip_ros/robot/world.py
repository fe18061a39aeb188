# SPDX-License-Identifier: Apache-2.0
"""The simulated world: one process holds the physics and serves libfranka at 1 kHz.

The physics thread owns the simulator. Readers get copies that it leaves every few ticks, and
hand it jobs that it runs between two ticks; it never waits for either.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import mujoco
import numpy as np

from resip_ros.core.config import ControlConfig, load_control_config
from resip_ros.core.errors import ConfigError, ResipError
from resip_ros.core.geometry import Array, quat_wxyz_to_matrix, quat_wxyz_to_xyzw
from resip_ros.core.tasks import get_task, pair_assembled
from resip_ros.robot.fci import FciServer, SimulatedArm
from resip_ros.robot.fci_state import ERROR_JOINT_REFLEX
from resip_ros.robot.history import History, Moment
from resip_ros.sim.initial_states import InitialState, sample_initial_state
from resip_ros.sim.scene import build_scene
from resip_ros.sim.task_scene import TICK_S

logger = logging.getLogger(__name__)

ROBOT_PORT, GRIPPER_PORT = 1337, 1338
_SNAPSHOT_EVERY = 5
"""Ticks between two copies for readers."""
_LOST_TIME_S = 0.1
"""Once this far behind the wall the schedule starts anew instead of racing after it."""
_JOB_TIMEOUT_S = 10.0
_BLOWN_UP = (
    mujoco.mjtWarning.mjWARN_BADQPOS,
    mujoco.mjtWarning.mjWARN_BADQVEL,
    mujoco.mjtWarning.mjWARN_BADQACC,
)


@dataclass(frozen=True)
class WorldSnapshot:
    """State of the simulation at one tick; enough to draw it and to observe it."""

    sim_time_s: float
    qpos: Array
    """(nq,) MuJoCo order of ``sim.scene.build_scene``."""
    qvel: Array
    """(nv,)."""
    mocap_pos: Array
    """(nmocap, 3) m."""


@dataclass(frozen=True)
class TickStatistics:
    """How the physics thread keeps its pace."""

    realtime_factor: float
    """Simulated over wall time in the last seconds."""
    tick_p50_ms: float
    """Work of one tick without sleeping, ms."""
    tick_p99_ms: float
    ticks: int
    missed_replies: int
    """States to which the controller did not answer in time."""


class SimulatedWorld:
    """Arms, grippers and parts of one task behind the robot's own network protocol."""

    def __init__(
        self,
        task_name: str,
        seed: int = 0,
        *,
        realtime_factor: float = 1.0,
        randomness: str = "low",
        addresses: Iterable[str] = ("127.0.0.1",),
        config: ControlConfig | None = None,
        step_hook: Callable[[WorldSnapshot], None] | None = None,
    ) -> None:
        """Build the scene; nothing runs or listens yet.

        Args:
            task_name: A task of core.tasks.
            seed: Initial states are numbers of this seed.
            realtime_factor: Simulated over wall time, > 0; the machine may not reach it.
            randomness: Level of the initial states.
            addresses: Loopback address of each arm.
            config: Control numbers; by default config/robots/fr3.yaml.
            step_hook: Called in the physics thread with each snapshot; must return at once.
        """
        if not realtime_factor > 0.0:
            raise ConfigError(f"realtime_factor: got {realtime_factor}, expected above 0")
        self.task = get_task(task_name)
        self._addresses = tuple(addresses)
        if len(self._addresses) != len(self.task.arms):
            raise ConfigError(
                f"{task_name} has {len(self.task.arms)} arms, got {len(self._addresses)} "
                f"addresses ({', '.join(self._addresses)}); give one for each arm"
            )
        self.seed = seed
        self.config = config or load_control_config()
        self._randomness = randomness
        self._period_s = TICK_S / realtime_factor
        self._step_hook = step_hook
        self.model = build_scene(task_name, self.config, timestep=TICK_S).compile()
        self._data = mujoco.MjData(self.model)
        self._arms = [SimulatedArm(self.config, arm) for arm in self.task.arms]
        for arm in self._arms:
            arm.attach(self.model, self._data)
        self._servers: list[FciServer] = []
        self._thread: threading.Thread | None = None
        self._running = False
        self._jobs: deque[Callable[[], None]] = deque()
        self._work_s = np.zeros(4096)
        self._pace: deque[tuple[float, int]] = deque(maxlen=64)
        self._part_qpos = {n: int(self.model.joint(n).qposadr[0]) for n in self.task.parts}
        self._part_dof = {n: int(self.model.joint(n).dofadr[0]) for n in self.task.parts}
        # settled on the training model, so that a number means the same state there and here
        self._settling_model = build_scene(task_name, self.config).compile()
        self._ticks = 0
        self._history = History()
        self._apply(self.initial_state(0))
        mujoco.mj_forward(self.model, self._data)
        self._snapshot = self._take_snapshot()

    # ---- life

    def start(self) -> None:
        """Bind the robot's ports and start the physics.

        Raises:
            ResipError: when the ports are taken on every address.
        """
        servers = [
            FciServer(arm, [address])
            for arm, address in zip(self._arms, self._addresses, strict=True)
        ]
        try:
            for server in servers:
                server.init()
                server.ticks = self._ticks
        except OSError as error:
            for server in servers:
                server.cleanup()
            raise ResipError(
                f"robot ports {ROBOT_PORT} and {GRIPPER_PORT} are taken on "
                f"{', '.join(self._addresses)}; is another simulated robot running? Stop it, or "
                "use another loopback address, for example 127.0.0.2"
            ) from error
        self._servers = servers
        self._pace.clear()
        # the default lets a reader keep the interpreter for 5 ms, five ticks
        sys.setswitchinterval(0.0005)
        self._running = True
        self._thread = threading.Thread(target=self._run, daemon=True, name="physics")
        self._thread.start()

    def stop(self) -> None:
        """Stop the physics and free the ports."""
        self._running = False
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        for server in self._servers:
            server.reset_state()
            server.cleanup()
        self._servers = []

    def __enter__(self) -> SimulatedWorld:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # ---- reading, from any thread

    @property
    def hostname(self) -> str:
        """Addresses for the robot client, of all arms, with commas between."""
        if not self._servers:
            raise ResipError("the simulated world is not running; call start first")
        return ",".join(self._addresses)

    @property
    def is_running(self) -> bool:
        """Whether the physics thread is alive."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def sim_time_s(self) -> float:
        """Time of the last tick; equals the robot's clock."""
        return self._ticks * TICK_S

    def snapshot(self) -> WorldSnapshot:
        """Newest copy of the state, at most 5 ms of simulation old."""
        return self._snapshot

    def part_poses(self, snapshot: WorldSnapshot | None = None) -> dict[str, Array]:
        """Part and fixture to pose (7,): position m and quaternion xyzw, base frame."""
        state = snapshot or self._snapshot
        poses = {}
        for name, start in self._part_qpos.items():
            pose = state.qpos[start : start + 7]
            poses[name] = np.concatenate([pose[:3], quat_wxyz_to_xyzw(pose[3:])])
        if self.task.fixture is not None:
            upright = np.array([0.0, 0.0, 0.0, 1.0])
            poses[self.task.fixture] = np.concatenate([state.mocap_pos[0], upright])
        return poses

    def success(self) -> bool:
        """Whether every pair of the task is assembled now."""
        qpos = self._snapshot.qpos
        done = True
        for pair in self.task.pairs:
            poses: list[Array] = []
            for name in (pair.parent, pair.child):
                start = self._part_qpos[name]
                pose = qpos[start : start + 7]
                poses += [pose[:3], quat_wxyz_to_matrix(pose[3:])]
            done &= bool(pair_assembled(pair, *poses))
        return done

    def statistics(self) -> TickStatistics:
        """Pace of the physics thread."""
        work = self._work_s[: max(1, min(self._ticks, len(self._work_s)))] * 1e3
        pace = list(self._pace)
        factor = 0.0
        if len(pace) > 1 and pace[-1][0] > pace[0][0]:
            factor = (pace[-1][1] - pace[0][1]) * TICK_S / (pace[-1][0] - pace[0][0])
        return TickStatistics(
            realtime_factor=factor,
            tick_p50_ms=float(np.percentile(work, 50)),
            tick_p99_ms=float(np.percentile(work, 99)),
            ticks=self._ticks,
            missed_replies=sum(server.missed_replies for server in self._servers),
        )

    # ---- changing the world

    def initial_state(self, index: int) -> InitialState:
        """Settled initial state number ``index`` of the world's seed; takes some 0.1 s."""
        return sample_initial_state(
            self._settling_model, self.task, self.config, self._randomness, self.seed, index
        )

    def place_parts(self, index: int, seed: int | None = None) -> None:
        """Put the parts back to initial state number ``index``; the arm is not touched.

        Args:
            index: Number of the initial state.
            seed: Replaces the world's seed from now on.
        """
        if seed is not None:
            self.seed = seed
        state = self.initial_state(index)
        self.run_in_physics(lambda: self._apply(state))
        self._history.clear()

    def undo(self, seconds: float) -> float:
        """Go back by so much: parts, arms and hands, at rest; the clock goes on.

        Arms that are led abort their motion with a reflex, and hold until they are recovered.

        Returns:
            Simulated time of the state that was restored, s.

        Raises:
            ConfigError: when that is not remembered.
        """
        moment = self._history.go_back(self.sim_time_s - seconds)
        self.run_in_physics(lambda: self._go_back(moment))
        return moment.sim_time_s

    def _go_back(self, moment: Moment) -> None:
        for server in self._servers:
            server.reflex(ERROR_JOINT_REFLEX)
        data = self._data
        data.qpos[:], data.mocap_pos[:] = moment.qpos, moment.mocap_pos
        data.ctrl[:], data.qvel[:], data.qacc_warmstart[:] = moment.control, 0.0, 0.0
        mujoco.mj_forward(self.model, data)
        for arm, hand in zip(self._arms, moment.hands, strict=True):
            arm.rest(hand)
        for server in self._servers:
            # holds where the arm is now
            server.stop_motion(send_preemption_signal=False)

    def inject_reflex(self, error: int, arm: int = 0) -> None:
        """Make a robot abort its motion with an error number of ``fci_state``."""
        self.run_in_physics(lambda: self._servers and self._servers[arm].reflex(error))

    def disturb(self, change: Callable[[FciServer], object], arm: int = 0) -> None:
        """Break a robot's server between two ticks, or mend it."""
        self.run_in_physics(lambda: self._servers and change(self._servers[arm]))

    def run_in_physics(self, job: Callable[[], object]) -> None:
        """Run a short job between two ticks and wait for its end.

        Raises:
            ResipError: the physics thread is stopped or does not come to it.
        """
        if not self.is_running:
            job()
            return
        done = threading.Event()

        def wrapped() -> None:
            job()
            # the caller sees its work in the very next reading
            self._snapshot = self._take_snapshot()
            done.set()

        self._jobs.append(wrapped)
        if not done.wait(_JOB_TIMEOUT_S):
            raise ResipError(f"the physics thread did not answer within {_JOB_TIMEOUT_S:.0f} s")

    def _apply(self, state: InitialState) -> None:
        data = self._data
        for name, pose in state.part_qpos.items():
            start, dof = self._part_qpos[name], self._part_dof[name]
            data.qpos[start : start + 7] = pose
            data.qvel[dof : dof + 6] = 0.0
        data.mocap_pos[:] = state.mocap_pos
        data.qacc_warmstart[:] = 0.0

    # ---- physics thread

    def _run(self) -> None:
        next_tick = time.perf_counter()
        try:
            while self._running:
                started = time.perf_counter()
                self._tick()
                self._work_s[self._ticks % len(self._work_s)] = time.perf_counter() - started
                next_tick += self._period_s
                now = time.perf_counter()
                if now > next_tick + _LOST_TIME_S:
                    next_tick = now
                elif now < next_tick:
                    time.sleep(next_tick - now)
        except Exception:
            logger.exception("simulated world stopped")

    def _tick(self) -> None:
        """Serve commands, step, send the state, leave copies."""
        while self._jobs:
            self._jobs.popleft()()
        for server in self._servers:
            server.wait_for_reply()
            server.process_commands()
            server.arm.before_step()
        mujoco.mj_step(self.model, self._data)
        self._ticks += 1
        for server in self._servers:
            server.arm.after_step()
            server.ticks = self._ticks
            server.check_reflex()
            server.send_state()
        if self._ticks % _SNAPSHOT_EVERY == 0:
            if any(self._data.warning[kind].number for kind in _BLOWN_UP):
                self._restore(self._snapshot)
            # a new object each time: readers keep the old one, nobody needs a lock
            self._snapshot = self._take_snapshot()
            if self._step_hook is not None:
                self._step_hook(self._snapshot)
            if self._ticks % 100 == 0:
                self._pace.append((time.perf_counter(), self._ticks))
                self._remember()

    def _restore(self, good: WorldSnapshot) -> None:
        """Go back to the last good state, at rest, after the solver blew up.

        MuJoCo itself would go on from the model's zero state, with the arm at zero joints.
        """
        logger.error("physics blew up at %.3f s: back to %.3f s", self.sim_time_s, good.sim_time_s)
        control = self._data.ctrl.copy()
        mujoco.mj_resetData(self.model, self._data)
        self._data.qpos[:], self._data.mocap_pos[:] = good.qpos, good.mocap_pos
        self._data.ctrl[:] = control
        mujoco.mj_forward(self.model, self._data)

    def _remember(self) -> None:
        now, hands = self._snapshot, tuple(arm.hand for arm in self._arms)
        control = self._data.ctrl.copy()
        self._history.add(Moment(now.sim_time_s, now.qpos, now.mocap_pos, control, hands))

    def _take_snapshot(self) -> WorldSnapshot:
        data = self._data
        return WorldSnapshot(
            self._ticks * TICK_S, data.qpos.copy(), data.qvel.copy(), data.mocap_pos.copy()
        )
