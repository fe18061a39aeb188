# SPDX-License-Identifier: Apache-2.0
import dataclasses
import itertools

import pytest
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.experimental.events_executor import EventsExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from std_msgs.msg import String

from resip_ros.core.errors import ConfigError, UnsafeCommand
from resip_ros.nodes.lifecycle import SUCCESS, ManagedNode, ManagedParameters
from resip_ros.nodes.parameters import declare_parameters

pytestmark = pytest.mark.ros


class Noting(ManagedNode):
    """Notes which hook was called, and fails where it is told to."""

    def __init__(self, autostart=True, fails=None):
        overrides = [Parameter("autostart", value=autostart)]
        super().__init__("noting", parameter_overrides=overrides)
        declare_parameters(self, ManagedParameters)
        self.calls, self.fails = [], fails or {}

    def _note(self, hook):
        self.calls.append(hook)
        if hook in self.fails:
            raise self.fails[hook]

    def configure(self):
        self.publisher = self.create_lifecycle_publisher(String, "topic", 10)
        self.create_subscription(String, "topic", lambda m: self.calls.append(m.data), 10)
        self.create_timer(1000.0, lambda: None)
        self._note("configure")

    def activate(self):
        self._note("activate")

    def deactivate(self):
        self.publisher.publish(String(data="last words"))
        self._note("deactivate")

    def close(self):
        self._note("close")

    def count(self):
        """Entities that are open."""
        return len(list(self._entities()))


class Manager:
    """Changes states by service, as `ros2 lifecycle` does."""

    def __init__(self, graph):
        self.graph = graph
        self.node = graph.add(Node("manager"))
        self.clients = {
            name: self.node.create_client(kind, f"/fr3/noting/{name}")
            for name, kind in (("change_state", ChangeState), ("get_state", GetState))
        }

    def _call(self, name, request):
        self.graph.spin_until(self.clients[name].service_is_ready)
        future = self.clients[name].call_async(request)
        self.graph.spin_until(future.done)
        return future.result()

    def change(self, transition_id):
        request = ChangeState.Request(transition=Transition(id=transition_id))
        return self._call("change_state", request).success

    def state(self):
        return self._call("get_state", GetState.Request()).current_state.id


def test_starts_by_itself_and_ends_in_order(graph):
    node = graph.add(Noting())
    node.begin()
    assert node.is_active
    node.end()
    assert node.calls == ["configure", "activate", "deactivate", "close"]
    node.end()
    assert len(node.calls) == 4


def test_waits_for_a_manager_and_can_be_built_again(graph):
    node = graph.add(Noting(autostart=False))
    node.begin()
    assert node.calls == []
    before = node.count()
    manager = Manager(graph)
    for _ in range(2):
        assert manager.change(Transition.TRANSITION_CONFIGURE)
        assert node.count() == before + 3
        with pytest.raises(UnsafeCommand, match="noting is inactive, expected active"):
            node.require_active()
        node.publisher.publish(String(data="silent"))
        assert manager.change(Transition.TRANSITION_ACTIVATE)
        node.publisher.publish(String(data="heard"))
        graph.spin_until(lambda: "heard" in node.calls)
        assert manager.change(Transition.TRANSITION_DEACTIVATE)
        graph.spin_until(lambda: "last words" in node.calls)
        node.calls.clear()
        node.publisher.publish(String(data="silent"))
        graph.spin_briefly()
        assert manager.change(Transition.TRANSITION_CLEANUP)
        assert node.calls == ["close"]
        assert node.count() == before
    assert manager.change(Transition.TRANSITION_UNCONFIGURED_SHUTDOWN)
    assert manager.state() == State.PRIMARY_STATE_FINALIZED


def test_what_prevents_the_start_is_raised_and_nothing_stays(graph):
    node = graph.add(Noting(fails={"configure": ConfigError("no such task")}))
    before = node.count()
    with pytest.raises(ConfigError, match="no such task"):
        node.begin()
    assert node.calls == ["configure", "close"]
    assert node.count() == before
    assert not node.is_active


@pytest.mark.parametrize("hook", ["configure", "activate", "deactivate", "close"])
@pytest.mark.parametrize("error", [ConfigError("told"), ValueError("unforeseen")])
def test_a_failing_hook_never_leaves_an_active_node(graph, hook, error):
    node = graph.add(Noting(autostart=False, fails={hook: error}))
    node.trigger_configure()
    node.trigger_activate()
    node.trigger_deactivate()
    assert not node.is_active
    node.trigger_cleanup()
    assert node.calls.count("close") == node.calls.count("configure") == 1
    node.fails.clear()
    assert node.trigger_configure() == SUCCESS
    assert node.trigger_activate() == SUCCESS
    assert node.is_active


def test_every_transition_in_every_state(graph, rng):
    """Whatever is asked in whatever order: hooks come in pairs, and only active nodes act."""
    node = graph.add(Noting(autostart=False))
    node.begin()
    before, manager = node.count(), Manager(graph)
    transitions = [
        Transition.TRANSITION_CONFIGURE,
        Transition.TRANSITION_CLEANUP,
        Transition.TRANSITION_ACTIVATE,
        Transition.TRANSITION_DEACTIVATE,
        99,
    ]
    for transition in rng.choice(transitions, 200):
        manager.change(int(transition))
        state = manager.state()
        assert node.is_active == (state == State.PRIMARY_STATE_ACTIVE)
        if state == State.PRIMARY_STATE_UNCONFIGURED:
            assert node.count() == before
    hooks = [call for call in node.calls if call in ("activate", "deactivate")]
    assert len(hooks) > 10
    assert all(a != b for a, b in itertools.pairwise(hooks))


@pytest.mark.parametrize("state", ["unconfigured", "inactive", "active"])
def test_shutdown_frees_everything_from_any_state(graph, state):
    node = graph.add(Noting(autostart=False))
    before = node.count()
    if state != "unconfigured":
        node.trigger_configure()
    if state == "active":
        node.trigger_activate()
    assert node.trigger_shutdown() == SUCCESS
    assert not node.is_active
    assert node.count() == before
    assert node.calls.count("deactivate") == (state == "active")
    node.end()
    assert node.calls.count("close") == (state != "unconfigured")


def test_the_executor_of_the_processes_bears_it(graph):
    """Entities come and go while it spins, from a callback of its own."""
    node = Noting(autostart=False)
    executor = EventsExecutor()
    executor.add_node(node)
    manager = Manager(dataclasses.replace(graph, executor=executor))
    try:
        for transition in [1, 3, 4, 2] * 10:
            assert manager.change(transition), transition
            if transition == Transition.TRANSITION_ACTIVATE:
                node.calls.clear()
                node.publisher.publish(String(data="heard"))
                manager.graph.spin_until(lambda: "heard" in node.calls)
    finally:
        for each in (node, manager.node):
            executor.remove_node(each)
        executor.shutdown(timeout_sec=1.0)
        graph.nodes.clear()
        node.end()
        node.destroy_node()
        manager.node.destroy_node()
