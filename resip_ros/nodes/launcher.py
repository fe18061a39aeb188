# SPDX-License-Identifier: Apache-2.0
"""One process a node without a ROS installation: start, watch, end, and keep the logs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from resip_ros.core.errors import ResipError
from resip_ros.nodes.node_main import PARENT_VARIABLE
from resip_ros.nodes.table import Graph, NodeEntry, environment

END_TIMEOUT_S = 8.0
LOG_LINES = 12


class NodeCrashed(ResipError):
    """A node ended by itself."""


@dataclass
class RunningNode:
    """A node's process and log."""

    entry: NodeEntry
    process: subprocess.Popen[bytes]
    log: Path

    def last_lines(self) -> str:
        """End of the log, without empty lines."""
        lines = self.log.read_text(errors="replace").splitlines()
        return "\n".join(line for line in lines[-LOG_LINES:] if line.strip())


def command_of(graph: Graph, entry: NodeEntry) -> list[str]:
    """Command line of a node."""
    command = [sys.executable, "-m", entry.module, "--ros-args", "-r", f"__ns:=/{graph.namespace}"]
    for file in graph.params_files:
        command += ["--params-file", str(file)]
    for name, value in graph.node_parameters(entry).items():
        # quoted, or an address such as 127.0 would be read as a number
        text = str(value).lower() if isinstance(value, bool) else f'"{value}"'
        command += ["-p", f"{name}:={text}"]
    return command


class Launcher:
    """Context manager around the processes of a graph; none survives it."""

    def __init__(
        self, graph: Graph, log_dir: Path, note: Callable[[str], None] = lambda text: None
    ) -> None:
        """Takes what to start.

        Args:
            graph: The nodes.
            log_dir: Directory for one log file a node.
            note: Takes what the graph has to do without.
        """
        self.graph = graph
        self.log_dir = log_dir
        self._note = note
        self.nodes: list[RunningNode] = []

    def __enter__(self) -> Launcher:
        """Starts every node.

        Raises:
            ResipError: when the log directory cannot be written.
        """
        try:
            self.log_dir.mkdir(parents=True, exist_ok=True)
            for entry in self.graph.entries():
                self.nodes.append(self._start(entry))
        except OSError as error:
            self.end()
            raise ResipError(
                f"cannot start the nodes with logs in {self.log_dir}: {error.strerror}; "
                "choose another --out directory"
            ) from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Ends every node."""
        self.end()

    def _start(self, entry: NodeEntry) -> RunningNode:
        log = self.log_dir / f"{entry.name}.log"
        with log.open("wb") as file:
            # an own group: Ctrl-C reaches only this process, which then ends them in order; the
            # same session, so that the kernel weighs their priorities against each other
            process = subprocess.Popen(
                command_of(self.graph, entry),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=environment(os.environ) | {PARENT_VARIABLE: str(os.getpid())},
                process_group=0,
            )
        return RunningNode(entry, process, log)

    def names(self) -> str:
        """Nodes that were started, for messages."""
        return ", ".join(node.entry.name for node in self.nodes)

    def check(self) -> None:
        """Looks whether all nodes live.

        Raises:
            NodeCrashed: with the end of the log of the first one that does not.
        """
        for node in list(self.nodes):
            status = node.process.poll()
            if status is None:
                continue
            if node.entry.without:
                # pictures and bags are for people; the arm and its policies go on
                self.nodes.remove(node)
                self._note(f"{node.entry.without}: {node.last_lines().splitlines()[-1:]}")
            else:
                raise NodeCrashed(
                    f"node {node.entry.name} ended with status {status}; last lines of "
                    f"{node.log}:\n{node.last_lines()}"
                )

    def end(self) -> None:
        """Ends all nodes: the bridge first, so that the arm rests before its inputs vanish."""
        for node in reversed(self.nodes):
            _signal(node.process, signal.SIGINT)
            _wait(node.process, END_TIMEOUT_S if node.entry.name == "franka_bridge" else 0.0)
        deadline = time.monotonic() + END_TIMEOUT_S
        for node in self.nodes:
            _wait(node.process, max(0.1, deadline - time.monotonic()))
            # whatever a node has left behind in its process group goes too
            _signal(node.process, signal.SIGKILL)
            node.process.wait()


def _wait(process: subprocess.Popen[bytes], timeout_s: float) -> None:
    try:
        process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        return


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Signals the process group, which may have ended."""
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return
