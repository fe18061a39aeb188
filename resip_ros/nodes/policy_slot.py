# SPDX-License-Identifier: Apache-2.0
"""The policy a node runs, and its exchange while the node runs, by parameter policy.checkpoint.

A new policy is checked in milliseconds in the parameter callback, loaded and warmed up in a
thread, and taken over by the node between two chunks. Whatever fails, the old one stays.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import yaml
from rcl_interfaces.msg import SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.publisher import Publisher
from std_msgs.msg import String

from resip_ros.core.errors import CheckpointMismatch, ConfigError, DataError, ResipError
from resip_ros.core.tasks import TaskSpec, get_task
from resip_ros.nodes import topics
from resip_ros.nodes.bench_files import camera_names
from resip_ros.nodes.diagnostics import WARN, Health
from resip_ros.nodes.table import CHECKPOINT, Graph
from resip_ros.policy.bundle import load_policy
from resip_ros.policy.bundle_folder import CARD_FILE, WEIGHTS_FILE
from resip_ros.policy.card import StudentCard, parse_card
from resip_ros.policy.golden import check_golden, plausible_input
from resip_ros.policy.runtime import AssemblyPolicy

PAIR_TIMEOUT_S = 30.0
"""How long a loaded policy waits for its partner in the other node before it is refused."""


@dataclass(frozen=True)
class ActivePolicy:
    """What topic policy/active tells about one node."""

    node: str
    checkpoint: str
    base_hash: str
    residual_hash: str
    """Empty without a residual."""


def parse_active(text: str) -> ActivePolicy:
    """Reads a message of policy/active.

    Raises:
        DataError: when the text is not one.
    """
    try:
        active = ActivePolicy(**json.loads(text))
    except (ValueError, TypeError, RecursionError) as error:
        raise DataError(f"{topics.POLICY_ACTIVE}: got {text[:80]!r}: {error}") from error
    if not all(isinstance(value, str) for value in asdict(active).values()):
        raise DataError(f"{topics.POLICY_ACTIVE}: got {text[:80]!r}; expected four texts")
    return active


def _is_file(path: Path) -> bool:
    """Whether there is a file; no file has a name that is too long or holds a zero."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def check_quickly(path: Path, task: TaskSpec) -> tuple[str, ...]:
    """Reads the cards of a policy folder or base bundle, not the weights.

    Returns:
        Cameras that the policy needs.

    Raises:
        CheckpointMismatch: with the reason it cannot be run for this task.
    """
    folders = [path] if _is_file(path / CARD_FILE) else [path / "base"]
    if _is_file(path / "residual" / CARD_FILE):
        folders.append(path / "residual")
    cameras: tuple[str, ...] = ()
    for folder in folders:
        card_file = folder / CARD_FILE
        if not (_is_file(card_file) and _is_file(folder / WEIGHTS_FILE)):
            raise CheckpointMismatch(
                f"no policy bundle in {folder}: expected {CARD_FILE} and {WEIGHTS_FILE}; "
                "give a policy folder such as models/one_leg, or a base bundle"
            )
        try:
            card = parse_card(yaml.safe_load(card_file.read_text()))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise CheckpointMismatch(f"cannot read {card_file}: {error}") from error
        if card.task != task.name:
            raise CheckpointMismatch(
                f"{folder} is for task {card.task!r}; this node runs {task.name!r}"
            )
        if isinstance(card, StudentCard):
            cameras = card.images
    return cameras


def check_graph(graph: Graph) -> None:
    """Looks before a process is started whether its policy is there, fits, and will see.

    Raises:
        ResipError: saying what it lacks.
    """
    graph.require_policy()
    needed = check_quickly(Path(graph.policy), get_task(graph.task))
    given = camera_names(graph.camera_config) if graph.camera_config else ()
    missing = [name for name in needed if name not in given]
    if missing:
        raise ConfigError(
            f"{graph.policy} sees pictures of {', '.join(needed)}, and no camera "
            f"{', '.join(missing)} runs; give --cameras: sim_cameras.yaml in simulation, a copy "
            "of cameras.yaml with real ones"
        )


def warm_up(policy: AssemblyPolicy) -> None:
    """Runs the policy once, so that its first step in motion is as fast as the others.

    Raises:
        CheckpointMismatch: when its output is not finite, or another than when it was saved.
    """
    obs, images = plausible_input(policy.base)
    for _ in range(2):
        chunk = policy.base.predict_chunk(obs, None, images)
        action = policy.compute_action(chunk[:, 0], policy.correct(obs, chunk[:, 0]))
    if not np.isfinite(action).all():
        raise CheckpointMismatch("the policy's output for a usual observation is not finite")
    check_golden(policy)


@dataclass(frozen=True)
class Pending:
    """A policy that is loaded and waits."""

    path: str
    policy: AssemblyPolicy
    since_s: float
    """Monotonic time, s."""


class PolicySlot:
    """Holds the active policy of one node and at most one that waits to take its place."""

    def __init__(
        self,
        node: Node,
        task: TaskSpec,
        why_wait: Callable[[AssemblyPolicy], str] = lambda policy: "",
    ) -> None:
        """Loads the first policy, then listens to the parameter.

        Args:
            node: Owner of parameter policy.checkpoint: policy folder or base bundle.
            task: What policies must be for.
            why_wait: Says why a loaded policy cannot take over yet; empty when it can.

        Raises:
            CheckpointMismatch: when the first policy cannot be loaded.
        """
        self._node = node
        self._task = task
        self._why_wait = why_wait
        self._active_topic, self._ready_topic = (
            node.create_publisher(String, topic, topics.latched_qos())
            for topic in (topics.POLICY_ACTIVE, topics.POLICY_READY)
        )
        self._lock = threading.Lock()
        self._wanted: str | None = None
        self._pending: Pending | None = None
        self._loading: threading.Thread | None = None
        self._refusal = ""
        self.path = str(node.get_parameter(CHECKPOINT).value)
        self._images: tuple[str, ...] | None = None
        self.policy = self._load(self.path)
        node.add_on_set_parameters_callback(self._validate)
        node.add_post_set_parameters_callback(self._request)

    def take_pending(self) -> bool:
        """Makes a waiting policy the active one; call between two chunks.

        Returns:
            Whether the policy changed.
        """
        with self._lock:
            pending = self._pending
            if pending is None:
                return False
            reason = self._why_wait(pending.policy)
            if reason and time.monotonic() - pending.since_s < PAIR_TIMEOUT_S:
                return False
            self._pending = None
        if reason:
            self._refuse(pending.path, CheckpointMismatch(reason))
            return False
        self.path, self.policy = pending.path, pending.policy
        self.announce()
        return True

    def close(self) -> None:
        """Waits for a load in progress; the parameter is then only a value for the next slot."""
        self.wait()
        self._node.remove_on_set_parameters_callback(self._validate)
        self._node.remove_post_set_parameters_callback(self._request)

    def diagnose(self, health: Health) -> None:
        """Which policy acts, which one waits, and why another one was refused."""
        health.value("policy", self.path)
        pending = self._pending
        if pending is not None:
            health.value("next policy", f"{pending.path} {self._why_wait(pending.policy)}")
        if self._refusal:
            health.tell(WARN, self._refusal)

    def wait(self) -> None:
        """Waits for a load in progress."""
        thread = self._loading
        if thread is not None:
            thread.join()

    def _load(self, path: str) -> AssemblyPolicy:
        check_quickly(Path(path), self._task)
        policy = load_policy(Path(path), images=True)
        if self._images not in (None, policy.base.images):
            raise CheckpointMismatch(
                f"{path} sees {policy.base.images or 'part poses'}, the policy before it "
                f"{self._images or 'part poses'}: inputs are opened when the node is configured; "
                "clean it up, set the parameter and configure it again"
            )
        self._images = policy.base.images
        if policy.decides_per_chunk:
            raise CheckpointMismatch(
                f"{path} decides once per chunk (ResiP-C or IDQL); the graph corrects every step: "
                "give a folder with base/ and a residual of steps"
            )
        warm_up(policy)
        return policy

    def announce(self) -> None:
        """Tells everybody which policy is active."""
        self._tell(self._active_topic, self.path, self.policy)
        self._node.get_logger().info(f"policy {self.path} is active")

    def _tell(self, topic: Publisher, path: str, policy: AssemblyPolicy | None) -> None:
        base = policy.base.card.weights_hash if policy is not None else ""
        residual = policy.residual if policy is not None else None
        told = ActivePolicy(
            self._node.get_name(), path, base, residual.card.weights_hash if residual else ""
        )
        topic.publish(String(data=json.dumps(asdict(told))))

    def _validate(self, parameters: list[Parameter]) -> SetParametersResult:
        for parameter in parameters:
            if parameter.name == CHECKPOINT:
                try:
                    check_quickly(Path(str(parameter.value)), self._task)
                except ResipError as error:
                    return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _request(self, parameters: list[Parameter]) -> None:
        """Has the newest wanted policy loaded; what was wanted before is forgotten."""
        for parameter in parameters:
            if parameter.name != CHECKPOINT:
                continue
            path = str(parameter.value)
            with self._lock:
                had_pending, self._pending = self._pending, None
                self._wanted = path if path != self.path else None
                if self._wanted is not None:
                    self._refusal = ""
                    if self._loading is None:
                        self._loading = threading.Thread(target=self._load_wanted, daemon=True)
                        self._loading.start()
            if had_pending is not None:
                self._tell(self._ready_topic, "", None)

    def _load_wanted(self) -> None:
        """Loading thread: ends when nothing else is wanted."""
        while True:
            with self._lock:
                path, self._wanted = self._wanted, None
                if path is None:
                    self._loading = None
                    return
            try:
                policy = self._load(path)
            except ResipError as error:
                self._refuse(path, error)
                continue
            with self._lock:
                if self._wanted is None and self._node.get_parameter(CHECKPOINT).value == path:
                    self._pending = Pending(path, policy, time.monotonic())
            self._tell(self._ready_topic, path, policy)

    def _refuse(self, path: str, error: ResipError) -> None:
        """Keeps the old policy, and says so in log, diagnostics and parameter."""
        self._refusal = f"kept policy {self.path}, refused {path}: {error}"
        self._node.get_logger().error(self._refusal)
        if self._node.get_parameter(CHECKPOINT).value == path:
            self._node.set_parameters([Parameter(CHECKPOINT, value=self.path)])
