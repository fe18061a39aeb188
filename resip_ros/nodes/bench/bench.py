# SPDX-License-Identifier: Apache-2.0
"""One bench with a policy at work, and perhaps a person: start, trial, judgement."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from rclpy.node import Node
from rclpy.parameter import Parameter
from rich.console import Console
from sensor_msgs.msg import CameraInfo, Image

from resip_ros.core import messages
from resip_ros.core.config import load_control_config
from resip_ros.core.errors import ConfigError, DataError
from resip_ros.core.results import EpisodeResult
from resip_ros.core.stages import stage_names
from resip_ros.core.tasks import TaskSpec
from resip_ros.nodes import topics
from resip_ros.nodes.bench.grid import Start
from resip_ros.nodes.bench.judge import (
    StageWatch,
    judge_by_person,
    judge_by_poses,
    misplaced,
)
from resip_ros.nodes.bench.overlay import View, draw_start, read_extrinsics, simulated_view
from resip_ros.nodes.bench.trials import (
    DONE,
    SKIPPED,
    VOID,
    Trial,
    TrialLog,
    bench_stages,
)
from resip_ros.nodes.operator import Operator
from resip_ros.nodes.teleop.live_view import LiveView
from resip_ros.nodes.teleop.terminal_keys import TerminalKeys
from resip_ros.sim.part_boxes import part_boxes

PLACED_M, PLACED_RAD = 0.003, 0.05
"""How exactly the simulated bench must make a start."""
SEEN_M, SEEN_RAD = 0.01, 0.2
"""How far off a part may be seen on a real bench before it is told."""
PERSON_TIMEOUT_S = 3600.0
PICTURE_S = 3.0
KEEP, AGAIN, SKIP = "\n", "r", "s"


class Quit(Exception):
    """The person ends the evaluation; what was done is kept."""


@dataclass(frozen=True)
class BenchOptions:
    """What `resip bench-eval` is asked for."""

    task: str
    robot: str
    policies: tuple[Path, ...]
    grid: str
    """A grid's file, or how many starts to make."""
    out: Path
    seed: int = 0
    camera: str = "overview"
    extrinsics: Path | None = None
    """Where a real camera stands."""
    max_steps: int | None = None
    camera_config: str = ""
    """YAML file of cameras; empty: those of the simulated bench."""
    tag_config: str = ""
    """YAML file of tags on the parts; empty: another tracker tells their poses."""

    @property
    def is_sim(self) -> bool:
        """Whether the bench is simulated: it places the parts and judges by itself."""
        return self.robot == "sim"


class Bench:
    """The bench with a policy at work, and perhaps a person."""

    def __init__(
        self,
        options: BenchOptions,
        task: TaskSpec,
        operator: Operator,
        console: Console,
        keys: TerminalKeys | None,
    ) -> None:
        """Args: see ``run_bench``."""
        self._options, self._task, self._operator = options, task, operator
        self._console, self._keys = console, keys
        self._stages = bench_stages(task, stage_names(task))
        self._boxes = part_boxes(task, load_control_config())
        self._matrix: np.ndarray | None = None
        self._next: tuple[int, Start] | None = None
        self._pictures = 0
        self._last = 0
        self._node = Node(
            "bench",
            namespace=topics.NAMESPACE,
            parameter_overrides=[Parameter("use_sim_time", value=options.is_sim)],
        )
        self._watch = StageWatch(self._node, task)
        self._view = LiveView(options.out / "next_start.jpg")
        camera = options.camera
        self._node.create_subscription(
            Image, topics.image(camera), self._on_image, topics.image_qos()
        )
        self._node.create_subscription(
            CameraInfo, topics.info(camera), self._on_info, topics.image_qos()
        )

    def __enter__(self) -> Bench:
        self._operator.attach(self._node)
        if self._keys is not None:
            self._console.print(f"where the parts should lie: {self._view.address}")
        return self

    def __exit__(self, *_: object) -> None:
        self._operator.detach(self._node)
        self._view.close()
        self._node.destroy_node()

    # ---- pictures ----

    def _on_info(self, message: CameraInfo) -> None:
        self._matrix = np.array(message.k, dtype=np.float64).reshape(3, 3)

    def _view_of_camera(self) -> View | None:
        """Where the camera stands; None where nobody said so."""
        if self._options.is_sim:
            return simulated_view(self._options.camera)
        if self._options.extrinsics is None or self._matrix is None:
            return None
        place = read_extrinsics(self._options.extrinsics, self._options.camera)
        return View(self._matrix, *place)

    def _on_image(self, message: Image) -> None:
        if self._next is None:
            return
        try:
            image = messages.decode_image(message)[1]
        except DataError:
            return
        view, (index, start) = self._view_of_camera(), self._next
        if view is not None:
            image = draw_start(image, view, start.poses, self._boxes, f"start {index}")
        self._view.show(image)
        self._pictures += 1

    # ---- trials ----

    def run_trial(self, policy: str, index: int, start: Start, log: TrialLog) -> bool:
        """One trial; False when it is to be done again."""
        self._operator.prepare(start.seed)
        self._watch.reset()
        self._show(index, start)
        if self._options.is_sim:
            self._check_start(index, start)
        elif not self._wait_for_parts(index, start):
            log.add(Trial(policy, index, SKIPPED, {}, "person", recorded_at=_now()))
            return True
        trial = self._run(policy, index, start)
        if self._keys is not None and not self._options.is_sim:
            trial = self._confirm(trial)
        log.add(trial)
        reached = [name for name, is_reached in trial.stages.items() if is_reached]
        self._console.print(
            f"start {index}: {trial.status}, {trial.reason}, {trial.seconds:.1f} s; reached: "
            f"{', '.join(reached) or 'nothing'}"
        )
        return trial.status != VOID

    def _show(self, index: int, start: Start) -> None:
        """Draws the start; goes on without where no camera sends anything."""
        self._next, self._pictures = (index, start), 0
        end_s = time.monotonic() + PICTURE_S
        self._operator.wait(
            lambda: self._pictures or time.monotonic() > end_s, 2 * PICTURE_S + 10, "a picture"
        )

    def _check_start(self, index: int, start: Start) -> None:
        self._next = None
        self._operator.wait(lambda: self._watch.sees_all, 10.0, "poses of the parts")
        off = misplaced(start.poses, self._watch.poses, PLACED_M, PLACED_RAD)
        if off:
            raise ConfigError(
                f"start {index}: the simulated bench makes it from seed {start.seed}, and lies "
                f"elsewhere: {off}; a grid that was edited by hand, or made by another version, "
                "is for a real bench"
            )
        self._watch.reset()

    def _wait_for_parts(self, index: int, start: Start) -> bool:
        """Until the person has placed the parts; False to skip the trial."""
        # a key from before the question must not begin anything: hands may be at the bench
        list(self._pressed())
        self._console.print(
            f"start {index}: place the parts as drawn. Enter begins, s skips, q ends"
        )
        key = self._wait_for_key((KEEP, SKIP))
        off = misplaced(start.poses, self._watch.poses, SEEN_M, SEEN_RAD)
        if off and self._watch.poses:
            self._console.print(f"still off: {off}")
        self._next = None
        return key == KEEP

    def _wait_for_key(self, wanted: tuple[str, ...]) -> str:
        found: list[str] = []

        def pressed() -> bool:
            found.extend(k for k in self._pressed() if k in wanted)
            return bool(found)

        self._operator.wait(pressed, PERSON_TIMEOUT_S, "waiting for the person at the bench")
        return found[0]

    def _pressed(self) -> Iterator[str]:
        """Keys since the last call; those of stages are noted.

        Raises:
            Quit: for q.
        """
        for key, _ in self._keys.take() if self._keys is not None else []:
            if key == "q":
                raise Quit
            if key.isdecimal() and int(key) <= len(self._stages):
                self._last = int(key)
                name = self._stages[self._last - 1] if self._last else "nothing"
                self._console.print(f"reached: {name}")
            else:
                yield key

    def _run(self, policy: str, index: int, start: Start) -> Trial:
        bags = self._options.out / "bags"
        before = set(bags.iterdir())
        self._last = 0
        if self._keys is not None and not self._options.is_sim:
            stages = ", ".join(f"{i + 1} {name}" for i, name in enumerate(self._stages))
            self._console.print(f"reached: {stages}; Enter ends the trial")

        def obey(_: float) -> None:
            if KEEP in list(self._pressed()) or self._last == len(self._stages):
                self._operator.is_asked_to_end = True

        limit = self._options.max_steps or self._task.episode_steps
        episode, _, _ = self._operator.run_episode(start.seed, limit, obey)
        new = sorted(p.name for p in set(bags.iterdir()) - before if not p.name.startswith("."))
        return self._judge(policy, index, episode, new[-1] if new else "")

    def _judge(self, policy: str, index: int, episode: EpisodeResult, bag: str) -> Trial:
        by_person = not self._options.is_sim and (self._last > 0 or not self._watch.sees_all)
        stages = (
            judge_by_person(self._stages, self._last)
            if by_person
            else judge_by_poses(self._task, self._watch.passed, episode.success)
        )
        return Trial(
            policy,
            index,
            DONE,
            stages,
            "person" if by_person else "poses",
            episode.seconds,
            episode.steps,
            episode.reason,
            bag,
            _now(),
        )

    def _confirm(self, trial: Trial) -> Trial:
        """The person has the last word."""
        reached = [name for name, is_reached in trial.stages.items() if is_reached]
        self._console.print(
            f"reached: {', '.join(reached) or 'nothing'} (by {trial.judge}). Enter keeps, a "
            "number corrects (0: nothing), r does it again, s skips"
        )
        before, self._last = self._last, -1
        key = self._wait_for_key((KEEP, AGAIN, SKIP))
        if self._last >= 0:
            stages = judge_by_person(self._stages, self._last)
            trial = replace(trial, stages=stages, judge="person")
        self._last = before
        return replace(trial, status={KEEP: DONE, AGAIN: VOID, SKIP: SKIPPED}[key])


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S")
