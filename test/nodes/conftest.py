# SPDX-License-Identifier: Apache-2.0
"""A policy folder that hovers about home, and rclpy in a domain of the test's own."""

import dataclasses
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import rclpy
import torch
from geometry_msgs.msg import PoseStamped
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import JointState

from resip_ros.core import messages
from resip_ros.core.action import ACTION_NAMES, encode_action
from resip_ros.core.config import load_control_config
from resip_ros.core.kinematics import forward
from resip_ros.core.observation import observation_names
from resip_ros.core.tasks import get_task
from resip_ros.nodes import topics
from resip_ros.nodes.node_main import StackNode
from resip_ros.nodes.table import ENVIRONMENT
from resip_ros.policy.bundle import save_addition, save_base
from resip_ros.policy.card import ResidualCard
from resip_ros.policy.networks import ConditionalUNet, UNetSpec, build_residual_actor
from resip_ros.policy.normalizer import Normalizer
from resip_ros.policy.runtime import residual_input_dim

from ..bundles import PROVENANCE, make_base_card


def write_policy(folder: Path, seed: int) -> Path:
    """Random networks whose actions stay within 5 mm of home, gripper open."""
    torch.manual_seed(seed)
    task = get_task("one_leg")
    names = observation_names(task)
    pos, rot = forward(np.array(load_control_config().home_joints))
    home = encode_action(pos, rot, np.array(-0.8))
    half = np.array([0.005] * 3 + [0.01] * 6 + [0.1])
    normalizer = Normalizer(
        -np.ones(len(names), np.float32),
        np.ones(len(names), np.float32),
        (home - half).astype(np.float32),
        (home + half).astype(np.float32),
    )
    card = make_base_card(UNetSpec(down_dims=(8, 16), kernel_size=3, groups=4, step_embed_dim=8))
    network = ConditionalUNet(len(ACTION_NAMES), len(names), card.network)
    card = save_base(folder / "base", card, normalizer, network)
    residual = ResidualCard(
        task=task.name,
        rate_hz=task.rate_hz,
        observation=names,
        action=ACTION_NAMES,
        base_hash=card.weights_hash,
        hidden=(16, 16),
        alpha=0.1,
        bound="tanh",
        features="relative",
        provenance=PROVENANCE,
    )
    actor = build_residual_actor(residual_input_dim(task, normalizer, "relative"), 10, (16, 16))
    torch.nn.init.normal_(actor[-1].weight, std=1.0)
    save_addition(folder / "residual", residual, normalizer, actor)
    return folder


@pytest.fixture(scope="session")
def policies(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two policy folders with different bases."""
    top = tmp_path_factory.mktemp("policies")
    return write_policy(top / "first", 1), write_policy(top / "second", 2)


@dataclasses.dataclass
class Graph:
    """Nodes of one test on one executor."""

    executor: SingleThreadedExecutor
    nodes: list[Node]

    def add(self, node: Node) -> Node:
        self.executor.add_node(node)
        self.nodes.append(node)
        return node

    def begin(self, kind: Callable[..., StackNode], parameters: dict[str, object]) -> StackNode:
        """Makes a node with parameters, and begins it."""
        overrides = [Parameter(name, value=value) for name, value in parameters.items()]
        node = kind(parameter_overrides=overrides)
        self.add(node)
        node.begin()
        return node

    def spin_until(self, done: Callable[[], object], timeout_s: float = 20.0) -> None:
        """Handles messages until done; a test that waits in vain fails here."""
        deadline = time.monotonic() + timeout_s
        while not done():
            assert time.monotonic() < deadline, "nothing came in time"
            self.executor.spin_once(timeout_sec=0.02)

    def spin_briefly(self, callbacks: int = 12) -> None:
        """Handles what has arrived, at most so many messages."""
        for _ in range(callbacks):
            self.executor.spin_once(timeout_sec=0.003)


@pytest.fixture
def graph(ros_domain_id: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Graph]:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    rclpy.init()
    graph = Graph(SingleThreadedExecutor(), [])
    yield graph
    for node in graph.nodes:
        graph.executor.remove_node(node)
        if isinstance(node, StackNode):
            node.end()
        node.destroy_node()
    graph.executor.shutdown()
    rclpy.shutdown()


class Robot:
    """A resting arm and parts, published as bridge and world do."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        node = graph.add(Node("robot", namespace="fr3"))
        qos = topics.stream_qos(5)
        self.joints = node.create_publisher(JointState, topics.JOINT_STATES, qos)
        observed = get_task("one_leg").observed
        self.parts = [
            node.create_publisher(PoseStamped, topics.part_pose(name), qos) for name in observed
        ]

    def is_connected(self) -> bool:
        return all(p.get_subscription_count() for p in (self.joints, *self.parts))

    def step(self, tick: int) -> None:
        """All streams at the start of a policy step."""
        stamp_ns = tick * 100_000_000
        state = JointState()
        names = (*messages.ARM_JOINTS, *messages.FINGER_JOINTS)
        q = np.array([0, -0.4, 0, -2.3, 0, 1.9, 0.8, 0.03, 0.03])
        messages.fill_joint_state_inplace(state, stamp_ns, names, q, np.zeros(9))
        self.joints.publish(state)
        for part in self.parts:
            pose = PoseStamped()
            messages.fill_header_inplace(pose.header, stamp_ns, messages.BASE_FRAME)
            messages.fill_pose_inplace(pose.pose, np.array([0.5, 0, 0.02, 0, 0, 0, 1.0]))
            part.publish(pose)
        self.graph.spin_briefly(20)


@pytest.fixture
def send(graph: Graph) -> Robot:
    return Robot(graph)
