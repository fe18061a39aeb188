# SPDX-License-Identifier: Apache-2.0
"""Nodes with a lifecycle: unconfigured, inactive, active, as a manager or `ros2 lifecycle` asks.

``configure`` builds, ``activate`` lets the node act, ``deactivate`` leaves the arm safe while the
publishers still work, ``close`` ends threads. Subclasses write these four and nothing else; what
they opened in ``configure`` is destroyed here. Without a manager a node does both first steps by
itself (parameter ``autostart``).
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from rclpy.lifecycle import (
    LifecycleNodeMixin,
    LifecyclePublisher,
    LifecycleState,
    TransitionCallbackReturn,
)

from resip_ros.core.errors import ResipError, UnsafeCommand
from resip_ros.nodes.diagnostics import ERROR, Health
from resip_ros.nodes.node_main import StackNode
from resip_ros.nodes.parameters import parameter

SUCCESS = TransitionCallbackReturn.SUCCESS


@dataclass(frozen=True)
class ManagedParameters:
    """ROS parameters of every node with a lifecycle."""

    autostart: bool = parameter(
        True, "configure and activate without a lifecycle manager, when the process starts"
    )


class ManagedNode(LifecycleNodeMixin, StackNode):
    """A node of the stack with a lifecycle; acts only while it is active."""

    def __init__(self, name: str, **kwargs: object) -> None:
        """Args: name of the node; keyword arguments of rclpy's Node."""
        StackNode.__init__(self, name, **kwargs)
        self._before: set[Any] = set()
        self._is_configured = self._is_active = self._is_beginning = False
        self._failure: Exception | None = None
        LifecycleNodeMixin.__init__(self)

    def activate(self) -> None:
        """From now on the node may act; its publishers work."""

    def deactivate(self) -> None:
        """Acts no more, and leaves the arm safe; its publishers still work."""

    @property
    def is_active(self) -> bool:
        """Whether the node may act."""
        return self._is_active

    def require_active(self) -> None:
        """For what moves the arm.

        Raises:
            UnsafeCommand: when the node is not active.
        """
        if not self._is_active:
            raise UnsafeCommand(
                f"{self.get_name()} is inactive, expected active; activate it "
                f"(ros2 lifecycle set {self.get_fully_qualified_name()} activate), then call again"
            )

    def begin(self) -> None:
        """Configures and activates, if no manager is to do it.

        Raises:
            Exception: what prevented it.
        """
        if not self.get_parameter("autostart").value:
            return
        self._is_beginning = True
        for trigger in (self.trigger_configure, self.trigger_activate):
            if trigger() != SUCCESS:
                raise self._failure or ResipError(f"{self.get_name()} could not be started")
        self._is_beginning = False

    def end(self) -> None:
        """Leaves the arm safe and frees everything, whatever state the node is in."""
        if self._is_active:
            self._try(self._deactivate)
        self._free()

    def _assess(self, health: Health) -> None:
        inactive = "inactive" if self._is_configured else "unconfigured"
        health.value("lifecycle", "active" if self._is_active else inactive)
        if self._failure is not None:
            health.tell(ERROR, f"{inactive}: {self._failure}")
        if self._is_configured:
            self.diagnose(health)

    # ---- transitions ----

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Builds; a node that cannot stays unconfigured, with nothing half-built."""
        return self._answer_transition(self._configure)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Switches publishers on, then lets the node act."""
        return self._answer_transition(self._activate)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Leaves the arm safe, then switches publishers off."""
        # a node that could not is taken apart by on_error
        done = self._answer_transition(self._deactivate)
        return done if done == SUCCESS else TransitionCallbackReturn.ERROR

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Frees everything; the node can be configured again."""
        self._free()
        return SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Ends for good."""
        self.end()
        return SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """After an error of ours: back to unconfigured, with the arm safe."""
        self.end()
        return SUCCESS

    def _answer_transition(self, action: Callable[[], None]) -> TransitionCallbackReturn:
        """Answers for rclpy, which drops exceptions of transitions without a word."""
        try:
            action()
        except ResipError as error:
            self._failure = error
            if not self._is_beginning:
                self.get_logger().error(str(error))
            return TransitionCallbackReturn.FAILURE
        except Exception as error:  # noqa: BLE001, one place for all of them
            self._failure = error
            self.get_logger().error(traceback.format_exc())
            return TransitionCallbackReturn.ERROR
        self._failure = None
        return SUCCESS

    def _configure(self) -> None:
        self._before = set(self._entities())
        self._is_configured = True
        try:
            self.configure()
        except BaseException:
            self._free()
            raise

    def _activate(self) -> None:
        self._switch_publishers(True)
        try:
            self.activate()
        except BaseException:
            self._switch_publishers(False)
            raise
        self._is_active = True

    def _deactivate(self) -> None:
        try:
            self.deactivate()
        finally:
            self._is_active = False
            self._switch_publishers(False)

    def _free(self) -> None:
        """Ends threads, then destroys what was opened since ``configure`` began."""
        if not self._is_configured:
            return
        self._is_configured = False
        self._try(self.close)
        for entity in set(self._entities()) - self._before:
            self._try(lambda entity=entity: self._destroy(entity))
        self._before = set()

    def _try(self, action: Callable[[], object]) -> None:
        """On the way down every step is taken, whatever happened in the one before."""
        try:
            action()
        except Exception:  # noqa: BLE001
            self.get_logger().error(traceback.format_exc())

    def _entities(self) -> Iterator[Any]:
        yield from self.publishers
        yield from self.subscriptions
        yield from self.services
        yield from self.clients
        yield from self.timers

    def _destroy(self, entity: Any) -> None:
        if isinstance(entity, LifecyclePublisher):
            self.destroy_lifecycle_publisher(entity)
            return
        for destroy in (
            self.destroy_publisher,
            self.destroy_subscription,
            self.destroy_service,
            self.destroy_client,
            self.destroy_timer,
        ):
            if destroy(entity):
                return

    def _switch_publishers(self, on: bool) -> None:
        state = LifecycleState("", 0)
        for entity in list(self._managed_entities):
            if on:
                entity.on_activate(state)
            else:
                entity.on_deactivate(state)
