# SPDX-License-Identifier: Apache-2.0
"""Recorder: every topic of the graph, undecoded, one rosbag2 folder an episode."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections import Counter
from concurrent.futures import Future as WriterFuture
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.parameter import Parameter
from rclpy.serialization import serialize_message
from rclpy.task import Future
from rclpy.timer import Timer
from std_msgs.msg import String
from std_srvs.srv import Trigger

from resip_ros.bags.layout import EPISODE_EVENT, Topic
from resip_ros.bags.recorder import MIN_FREE_BYTES, Recorder, Saved
from resip_ros.bags.sidecar import Episode, installed_versions
from resip_ros.core import events
from resip_ros.core.errors import ConfigError, DataError, ResipError
from resip_ros.core.tasks import get_task
from resip_ros.nodes import topics
from resip_ros.nodes.diagnostics import ERROR, WARN, Health
from resip_ros.nodes.event_history import EventHistory
from resip_ros.nodes.graph_topics import GraphTopics
from resip_ros.nodes.keyboard import Keyboard
from resip_ros.nodes.lifecycle import ManagedNode, ManagedParameters
from resip_ros.nodes.node_main import run_node
from resip_ros.nodes.node_parameters import NodeParameters
from resip_ros.nodes.parameters import declare_parameters, parameter
from resip_ros.nodes.success import SuccessWatch

LOOK_S = 0.5
POST_ROLL_S = 0.5
"""After a stop the nodes still report on the episode."""
EVENTS = Topic(EPISODE_EVENT, "std_msgs/msg/String", latched=True)
MAX_AGE_S = 10.0
"""Events are kept for nodes that join later; a start from long ago is over."""


@dataclass(frozen=True)
class RecorderParameters(ManagedParameters):
    """ROS parameters of the recorder."""

    directory: str = parameter("", "folder for the bags", name="record.directory")
    task: str = parameter("one_leg", "task that is recorded")
    operator: str = parameter("", "who demonstrates", name="record.operator")
    pre_roll_s: float = parameter(
        2.0, "what is kept from before a start, s", name="record.pre_roll_s", low=0.0, high=60.0
    )
    follow_episodes: bool = parameter(
        True,
        "start and save with the bridge's episodes, not by services alone",
        name="record.follow_episodes",
    )


class RecorderNode(ManagedNode):
    """Callbacks hand messages to the writing thread; the clock of receipt is the system's."""

    def __init__(self, has_keys: bool = False, **kwargs: object) -> None:
        super().__init__("recorder", **kwargs)
        self._has_keys = has_keys
        self.parameters = declare_parameters(self, RecorderParameters)
        self._recorder: Recorder | None = None

    def configure(self) -> None:
        """Opens the directory, then subscribes.

        Raises:
            ConfigError: for an unknown task, or a directory that cannot be written.
        """
        if not self.parameters.directory:
            raise ConfigError("parameter record.directory is empty; name a folder for the bags")
        self._task = get_task(self.parameters.task)
        self._recorder = Recorder(
            Path(self.parameters.directory),
            self.parameters.pre_roll_s,
            self._tell_error,
        )
        self._receipt, self._log_ns = Clock(clock_type=ClockType.SYSTEM_TIME), 0
        self.received: Counter[str] = Counter()
        self._policy: dict[str, Any] = {}
        self._save_timer: Timer | None = None
        self._is_undone = False
        self._last_error = ""
        self._others = NodeParameters(self)
        self._success = SuccessWatch(self, self._task)
        self._graph = GraphTopics(self, self._take)
        self._history = EventHistory(self.get_clock())
        self.create_subscription(
            String, topics.POLICY_ACTIVE, self._on_active, topics.latched_qos()
        )
        # rclpy awaits coroutines too, which its types do not tell
        services: dict[str, Any] = {
            "start": self._start_service,
            "save": self._save_service,
            "discard": self._discard_service,
        }
        for name, service in services.items():
            self.create_service(Trigger, f"~/{name}", service)
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._look()
        self.create_timer(LOOK_S, self._look, clock=self._steady)
        if self._has_keys:
            Keyboard(
                self,
                {
                    "s": self._start_key,
                    "": lambda: self._end_key(discard=False),
                    "d": lambda: self._end_key(discard=True),
                    "q": lambda: os.kill(os.getpid(), signal.SIGINT),
                },
            )

    def deactivate(self) -> None:
        """Saves an episode in progress."""
        self._save_late()
        if self._recorder is not None and self._recorder.episode is not None:
            self._label("the recorder was ended")
            self._recorder.episode.problems.append("the recorder ended before the episode")
            self._tell(self._recorder.save().result())

    def close(self) -> None:
        """Ends the writing thread, after an episode in progress."""
        if self._recorder is not None:
            self._recorder.close()
        self._recorder = None

    # ---- messages ----

    def _take(self, topic: Topic, data: bytes) -> None:
        # an earlier episode's start in a bag would look like a second one
        if topic.name != EPISODE_EVENT or not self._history.is_past_message(data):
            self._keep(topic, data)

    def _keep(self, topic: Topic, data: bytes) -> None:
        if self._recorder is None or not self.is_active:
            return
        # in order of receipt, even when the system's clock is set back
        self._log_ns = max(self._log_ns, self._receipt.now().nanoseconds)
        self._recorder.take(topic, self._log_ns, data)
        self.received[topic.name] += 1

    def _look(self) -> None:
        if self._history.begins():
            latched = topics.latched_qos()
            self.create_subscription(String, topics.EPISODE_EVENT, self._on_event, latched)
        self._graph.look(later=() if self._history.has_begun else (EPISODE_EVENT,))
        self._others.look()

    def _on_active(self, message: String) -> None:
        # kept as it was sent: what decodes it would load torch into this process
        try:
            active = json.loads(message.data)
            self._policy[active["node"]] = active
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            self._tell_error(f"{topics.POLICY_ACTIVE}: {message.data[:80]!r}: {error!r}")

    # ---- episodes ----

    def _on_event(self, message: String) -> None:
        if not self.parameters.follow_episodes or not self.is_active:
            return
        try:
            event = events.parse_event(message.data)
        except DataError as error:
            self.get_logger().error(f"{topics.EPISODE_EVENT}: {error}")
            return
        if event.kind == events.UNDONE:
            self._go_on()
        elif self._is_undone and event.kind in (events.STARTED, events.FAULT):
            # the same episode, from an earlier state of the simulated bench
            self._is_undone = event.kind == events.FAULT
        elif event.kind == events.STARTED:
            self._follow_start(event, message)
            if event.detail == events.SHADOW and self._recorder is not None:
                self._note_shadow(self._recorder.episode)
        elif event.kind in (events.STOPPED, events.FAULT) and self._save_timer is None:
            self._label(f"{event.kind}: {event.detail}" if event.detail else event.kind)
            self._save_timer = self.create_timer(POST_ROLL_S, self._save_late, clock=self._steady)

    def _go_on(self) -> None:
        """The bench went back in time: what ended the episode was that, and it goes on."""
        episode = self._recorder.episode if self._recorder is not None else None
        if episode is None:
            return
        self._is_undone = True
        if self._save_timer is not None:
            # the fault of the arm that was moved has come first
            self.destroy_timer(self._save_timer)
            self._save_timer = None
            episode.outcome, episode.success = "", None

    def _follow_start(self, event: events.EpisodeEvent, message: String) -> None:
        assert self._recorder is not None
        age_s = self._history.age_s(event)
        if age_s > MAX_AGE_S:
            self.get_logger().warning(f"an episode that began {age_s:.1f} s ago is NOT recorded")
            return
        self._save_late()
        if self._recorder.episode is None:
            self._start_key()
        if self._recorder.episode is None:
            return
        if self._history.is_past(event):
            # this one goes on, so that its start belongs into the bag after all
            self._keep(EVENTS, serialize_message(message))
        if age_s > self.parameters.pre_roll_s:
            text = f"recording began {age_s:.1f} s after the episode"
            self._recorder.episode.problems.append(text)

    def _note_shadow(self, episode: Episode | None) -> None:
        """What parts do in shadow mode is not the policy's doing, and no demonstration."""
        if episode is not None:
            episode.problems.append("shadow mode: the arm did not carry out the actions")
            episode.outcome, episode.success = "shadow", False

    def start(self) -> str:
        """Begins an episode; an earlier one that is about to be saved is saved at once.

        Returns:
            What is recorded, and what a policy would miss.

        Raises:
            ConfigError: when one is being recorded, or the disk is nearly full.
            UnsafeCommand: when the node is not active.
        """
        assert self._recorder is not None
        self.require_active()
        self._save_late()
        self._last_error = ""
        self._success.reset()
        episode = Episode(
            task=self._task.name,
            operator=self.parameters.operator,
            policy=dict(self._policy),
            parameters={name: dict(values) for name, values in self._others.values.items()},
            versions=installed_versions(),
        )
        wanted = (topics.JOINT_STATES, *(topics.part_pose(name) for name in self._task.observed))
        have = self._graph.names
        missing = [t for t in wanted if f"{self.get_namespace()}/{t}" not in have]
        if missing:
            episode.problems.append(f"nobody published {', '.join(missing)} at the start")
        folder = self._recorder.start(episode)
        warning = f"; WARNING: {episode.problems[0]}" if missing else ""
        return f"recording {folder.name}, {len(have)} topics{warning}"

    def _label(self, outcome: str) -> None:
        """Notes how the episode in progress ended."""
        # whatever follows is of another episode, although the arm never went on from the undone
        self._is_undone = False
        episode = self._recorder.episode if self._recorder is not None else None
        if episode is not None and not episode.outcome:
            # without part poses nobody can tell
            done = bool(self._success.is_assembled)
            episode.success = done or (None if episode.problems else False)
            episode.outcome = "success" if done else outcome

    def _save_late(self) -> None:
        """Saves an episode whose stop was seen."""
        if self._save_timer is None:
            return
        self.destroy_timer(self._save_timer)
        self._save_timer = None
        assert self._recorder is not None
        if self._recorder.episode is not None:
            self._recorder.save().add_done_callback(lambda f: self._tell(f.result()))

    def _tell(self, saved: Saved) -> None:
        if saved.ok:
            self.get_logger().info(saved.text)
        else:
            self._tell_error(saved.text)

    def diagnose(self, health: Health) -> None:
        """What is recorded, the last error, and how much room is left."""
        assert self._recorder is not None
        episode = self._recorder.episode
        health.value("recording", episode.recorded_at if episode is not None else "no")
        health.value("topics", len(self._graph.names))
        health.value("messages", self.received.total())
        if episode is not None and episode.problems:
            health.tell(WARN, "; ".join(episode.problems))
        if self._last_error:
            health.tell(ERROR, self._last_error)
        health.at_least(
            "free, GB",
            shutil.disk_usage(self._recorder.directory).free / 1e9,
            warn=4 * MIN_FREE_BYTES / 1e9,
            error=MIN_FREE_BYTES / 1e9,
            advice="free some space on the disk of the bags",
        )

    def _tell_error(self, text: str) -> None:
        self._last_error = text
        self.get_logger().error(text)

    # ---- keys ----

    def _start_key(self) -> None:
        try:
            self.get_logger().info(self.start())
        except ResipError as error:
            self._tell_error(f"NOT recorded: {error}")

    def _end_key(self, discard: bool) -> None:
        try:
            self._finish(discard).add_done_callback(lambda f: self._tell(f.result()))
        except ResipError as error:
            self._tell_error(str(error))

    def _finish(self, discard: bool) -> WriterFuture[Saved]:
        assert self._recorder is not None
        self._label("ended by a person")
        return self._recorder.discard() if discard else self._recorder.save()

    # ---- services ----

    def _start_service(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        try:
            response.success, response.message = True, self.start()
        except ResipError as error:
            response.success, response.message = False, str(error)
        return response

    async def _save_service(
        self, _: Trigger.Request, response: Trigger.Response
    ) -> Trigger.Response:
        """Answers when the file has been read back."""
        return await self._end(response, discard=False)

    async def _discard_service(
        self, _: Trigger.Request, response: Trigger.Response
    ) -> Trigger.Response:
        """Answers when the bag is in the trash folder."""
        return await self._end(response, discard=True)

    async def _end(self, response: Trigger.Response, discard: bool) -> Trigger.Response:
        try:
            saved = await self._wait(self._finish(discard))
        except ResipError as error:
            response.success, response.message = False, str(error)
            return response
        self._tell(saved)
        response.success, response.message = saved.ok, saved.text
        return response

    async def _wait(self, saved: WriterFuture[Saved]) -> Saved:
        """The writing thread's future as one that the executor can wait for."""
        future: Future = Future(executor=self.executor)
        saved.add_done_callback(lambda f: future.set_result(f.result()))
        result = await future
        assert isinstance(result, Saved)
        return result


def run(directory: Path, task: str, operator: str, pre_roll_s: float, is_sim: bool) -> int:
    """`resip record`: the node beside a running graph, with keys on a terminal."""
    values = {
        "use_sim_time": is_sim,
        "record.directory": str(directory),
        "task": task,
        "record.operator": operator,
        "record.pre_roll_s": pre_roll_s,
    }
    overrides = [Parameter(name, value=value) for name, value in values.items()]
    keys = sys.stdin.isatty()
    if keys:
        sys.stdout.write("s starts, Enter saves, d discards, q ends\n")
    return run_node(lambda: RecorderNode(has_keys=keys, parameter_overrides=overrides))


def main() -> int:
    """Entry point of the `recorder` command."""
    return run_node(RecorderNode)


if __name__ == "__main__":
    sys.exit(main())
