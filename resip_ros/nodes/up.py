# SPDX-License-Identifier: Apache-2.0
"""`resip up`: start the graph, run episodes, leave result, plot and video."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from resip_ros.core.errors import ResipError
from resip_ros.core.results import EpisodeResult, RunResult, write_json_atomically
from resip_ros.core.tasks import TaskSpec, get_task
from resip_ros.nodes.latency import make_table
from resip_ros.nodes.operator import Operator
from resip_ros.nodes.policy_slot import check_graph
from resip_ros.nodes.recording import EpisodeRecording
from resip_ros.nodes.report import write_plot, write_video
from resip_ros.nodes.running import check_out, running_graph
from resip_ros.nodes.soak import Soak
from resip_ros.nodes.table import Graph


@dataclass(frozen=True)
class UpOptions:
    """What `resip up` is asked for."""

    task: str
    robot: str
    policy: Path
    out: Path
    episodes: int = 1
    headless: bool = False
    shadow: bool = False
    seed: int = 0
    max_steps: int | None = None
    """Shorter time limit than the task's, policy steps."""
    record: Path | None = None
    """Folder for one bag an episode."""
    minutes: float | None = None
    """Instead of a number of episodes: run for so long, and watch the processes."""
    cameras: str = ""
    """YAML file of real cameras; empty: those of the simulated bench."""
    tags: str = ""
    """YAML file of tags on the parts; empty: another tracker tells their poses."""


def run(options: UpOptions, console: Console) -> RunResult:
    """Runs the stack.

    Raises:
        ResipError: when it could not run; whatever the episodes' outcome, it returns.
    """
    task = get_task(options.task)
    record = str(options.record.resolve()) if options.record is not None else ""
    graph = Graph(
        options.task,
        options.robot,
        str(options.policy),
        options.shadow,
        record=record,
        camera_config=options.cameras,
        tag_config=options.tags,
    )
    check_graph(graph)
    check_out(options.out)
    describe_bags = _watch_bags(options.record)
    result = RunResult(options.task, str(options.policy), options.robot)
    soak = Soak(options.minutes, result)
    with running_graph(graph, options.out, result.notes, console) as operator:
        operator.wait_until_ready()
        best, failure = _run_episodes(options, task, operator, result, console, soak)
    result.notes += describe_bags(len(result.episodes))
    growth = soak.write(options.out)
    for table in (make_table(result.hop_ms, result.period_ms), growth):
        if table is not None:
            console.print(table)
    _write(options, result, best, console)
    if failure is not None:
        raise failure
    return result


def _watch_bags(directory: Path | None) -> Callable[[int], list[str]]:
    """Remembers what is there; the function then says what a run of so many episodes recorded."""
    if directory is None:
        return lambda episodes: []
    # what reads bags takes half a second to import
    from resip_ros.bags.review import BagCount

    return BagCount(directory).describe


def _run_episodes(
    options: UpOptions,
    task: TaskSpec,
    operator: Operator,
    result: RunResult,
    console: Console,
    soak: Soak,
) -> tuple[EpisodeRecording | None, ResipError | None]:
    """Runs all episodes, or as many as go.

    Returns:
        Recording of the first successful episode, or else of the first; and what ended the run
        before its last episode, unless that was Ctrl-C.
    """
    failure: ResipError | None = None
    kept: EpisodeRecording | None = None
    kept_success = False
    factors: list[float] = []
    max_steps = options.max_steps or task.episode_steps
    try:
        with _progress(console) as progress:
            for index in soak.indices(options.episodes):
                label = soak.label(index, options.episodes)
                bar = progress.add_task(label, total=1.0)
                seed = options.seed + index
                operator.prepare(seed)
                episode, recording, factor = operator.run_episode(
                    seed, max_steps, lambda share, bar=bar: progress.update(bar, completed=share)
                )
                operator.collect(result)
                result.episodes.append(episode)
                factors.append(factor)
                progress.remove_task(bar)
                console.print(_describe(label, episode))
                if kept is None or (episode.success and not kept_success):
                    kept, kept_success = recording, episode.success
    except KeyboardInterrupt:
        result.notes.append(f"interrupted after {len(result.episodes)} episodes")
        console.print("interrupted: ending the nodes, the arm first")
    except ResipError as error:
        failure = error
        result.notes.append(f"ended after {len(result.episodes)} episodes: {error}")
    if factors:
        result.realtime_factor = round(sum(factors) / len(factors), 4)
    return kept, failure


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    )


def _describe(label: str, episode: EpisodeResult) -> str:
    outcome = "success" if episode.success else "no success"
    return f"{label}: {outcome} ({episode.reason}), {episode.steps} steps, {episode.seconds:.1f} s"


def _write(
    options: UpOptions, result: RunResult, best: EpisodeRecording | None, console: Console
) -> None:
    """Writes result.json last, so that it tells about everything else.

    Raises:
        ResipError: when the result cannot be written.
    """
    title = f"{options.task}, {options.robot}, {options.policy.name}"
    if best is not None and best.net:
        write_plot(options.out / "episode.png", best, title)
        if best.pictures:
            write_video(options.out / "episode.mp4", best, title)
        else:
            result.notes.append("no video: no pictures were received")
    write_json_atomically(options.out / "result.json", result.to_dict())
    for note in result.notes:
        console.print(f"note: {note}")
    names = sorted(p.name for p in options.out.iterdir() if p.is_file())
    console.print(f"wrote {', '.join(names)} in {options.out}")
