# SPDX-License-Identifier: Apache-2.0
"""Draw the pictures of simulated demonstrations: front and wrist, with randomised looks.

    python -m training.render data/peg_teacher.zarr --out data/peg_images.zarr --processes 2

What the teacher did from states becomes what a student sees (ResiP §II-D). The look of a frame is
drawn from (seed, episode, frame), so the result is the same for any number of processes. After
Ctrl-C the same command with --resume goes on. Arrays `image_front`, `image_wrist` (N, 240, 320, 3)
uint8 RGB are added to a copy of the dataset. Letters: N steps.
"""

from __future__ import annotations

import itertools
import json
import multiprocessing
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tyro
import zarr
from numpy.typing import NDArray
from rich.progress import Progress

from resip_ros.core.config import load_control_config
from resip_ros.core.errors import ConfigError, DataError
from resip_ros.core.images import POLICY_CAMERAS, image_array
from resip_ros.sim.gl import find_backend
from resip_ros.sim.render import Renderer
from resip_ros.sim.scene import build_scene
from training.dataset import Demonstrations, read_demonstrations, write_demonstrations
from training.image_dataset import IMAGES_ATTRIBUTE, create_image_arrays
from training.program import check_numbers, check_run, run_with_settings
from training.provenance import describe_command, describe_commit
from training.randomize import LOOKS, LookApplier, LookRange, prepare_scene, sample_look
from training.real_standin import STANDIN

_UNIT_FRAMES = 64
_FAR = 100.0
"""No part of a scene is so far away, m, and no joint turned so far, rad."""
_LIMIT_FRAMES = 48
Pictures = dict[str, NDArray[np.uint8]]


@dataclass(frozen=True)
class RenderSettings:
    """What to draw."""

    data: Annotated[Path, tyro.conf.Positional]
    """Demonstrations with `sim_state`, as training.collect writes them."""
    out: Path
    """Zarr group to write; refused when it exists, unless with --resume."""
    look: Literal["random", "nominal_parts", "standin", "standin_new_colors"] = "random"
    """Ranges of training.randomize: random in everything, with parts in their own colours, or the
    stand-in for a real bench."""
    episodes: int | None = None
    """Only the first so many episodes."""
    seed: int = 0
    """Seed of the looks."""
    processes: int = 1
    """Processes that draw; each needs about 300 MB."""
    resume: bool = False
    """Draw only what an interrupted command has left out."""

    def __post_init__(self) -> None:
        """Refuse counts that cannot be."""
        check_numbers(self, "episodes")
        check_run(self.seed, processes=self.processes)


class RandomRenderer:
    """Draws policy pictures in one look after the other; belongs to one thread."""

    def __init__(self, task: str, ranges: LookRange) -> None:
        """Open the graphics.

        Raises:
            NoRenderingError: this machine cannot draw.
        """
        self._task, self._ranges = task, ranges
        self._renderer = Renderer(task, prepare=prepare_scene)
        self._looks = LookApplier(self._renderer.model, task)
        self.nq = self._renderer.model.nq
        self.inside_s = 0.0
        """Time spent in MuJoCo's renderer."""

    def draw(self, state: NDArray[np.floating], key: tuple[int, ...]) -> Pictures:
        """Pictures of a scene (nq + 3 nmocap,) in the look that the integers `key` draw."""
        look = sample_look(self._ranges, self._task, np.random.default_rng(key))
        self._looks.apply(look, self._renderer.scene)
        state = np.asarray(state, dtype=np.float64)
        qpos, mocap_pos = state[: self.nq], state[self.nq :].reshape(-1, 3)
        began = time.perf_counter()
        pictures = self._renderer.render_policy(qpos, mocap_pos)
        self.inside_s += time.perf_counter() - began
        return pictures

    def close(self) -> None:
        """Free the graphics memory."""
        self._renderer.close()


def shown_rows(data: Demonstrations, delay: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of every step (N,): episode, and the row whose scene it shows, `delay` steps before."""
    starts = np.concatenate([[0], data.episode_ends[:-1]])
    lengths = np.diff(data.episode_ends, prepend=0)
    episode = np.repeat(np.arange(len(starts)), lengths)
    rows = np.arange(int(data.episode_ends[-1]))
    return episode, np.maximum(rows - delay, starts[episode])


@dataclass
class Drawn:
    """What drawing has cost."""

    frames: int = 0
    seconds: float = 0.0
    """In all, of every process."""
    inside_s: float = 0.0
    """Of these in MuJoCo's renderer."""

    def add(self, other: Drawn) -> None:
        """Count another unit in."""
        self.frames += other.frames
        self.seconds += other.seconds
        self.inside_s += other.inside_s


def draw_unit(settings: RenderSettings, task: str, first: int) -> Drawn:
    """Draw the frames of a unit that are not there yet."""
    worker = _worker(settings, task)
    began, inside_s = time.perf_counter(), worker.inside_s
    drawn = 0
    last = min(first + _UNIT_FRAMES, len(worker.rows))
    for row in range(first, last):
        if all(picture_file(settings.out, name, row).is_file() for name in POLICY_CAMERAS):
            continue
        frame = worker.draw(row)
        for name in POLICY_CAMERAS:
            worker.arrays[name][row] = frame[name]
        drawn += 1
    return Drawn(drawn, time.perf_counter() - began, worker.inside_s - inside_s)


def picture_file(out: Path, camera: str, row: int) -> Path:
    """File of a picture; zarr writes it whole or not at all."""
    return out / image_array(camera) / "c" / str(row) / "0" / "0" / "0"


class _Worker:
    """What a process keeps between units."""

    def __init__(self, settings: RenderSettings, task: str) -> None:
        data = read_demonstrations(settings.out, task)
        assert data.sim_state is not None
        delay = STANDIN.image_delay_steps if settings.look.startswith("standin") else 0
        self.episode, self.rows = shown_rows(data, delay)
        self._states, self._seed = data.sim_state, settings.seed
        self._starts = np.concatenate([[0], data.episode_ends])
        self._renderer = RandomRenderer(task, LOOKS[settings.look])
        group = zarr.open_group(str(settings.out), mode="r+")
        self.arrays: dict[str, Any] = {n: group[image_array(n)] for n in POLICY_CAMERAS}

    @property
    def inside_s(self) -> float:
        """Time spent in MuJoCo's renderer."""
        return self._renderer.inside_s

    def draw(self, row: int) -> Pictures:
        episode = int(self.episode[row])
        frame = row - int(self._starts[episode])
        return self._renderer.draw(self._states[self.rows[row]], (self._seed, episode, frame))


_workers: dict[str, _Worker] = {}


def _worker(settings: RenderSettings, task: str) -> _Worker:
    key = f"{settings.out}|{settings.look}|{settings.seed}"
    if key not in _workers:
        _workers.clear()
        _workers[key] = _Worker(settings, task)
    return _workers[key]


def prepare(settings: RenderSettings) -> tuple[str, int]:
    """Make the output, or check that it is the one to resume; returns task and frames.

    Raises:
        ResipError: for input that cannot be drawn, or another run's output.
    """
    task = read_task(settings.data)
    identity = {
        "data": read_demonstrations(settings.data, task).hash,
        "look": settings.look,
        "seed": settings.seed,
        "episodes": settings.episodes,
    }
    if settings.out.exists():
        if not settings.resume:
            raise ConfigError(
                f"{settings.out} exists already; go on with --resume, choose another --out or "
                "remove it"
            )
        group = zarr.open_group(str(settings.out), mode="r")
        before = group.attrs.get("rendering")
        if before != identity:
            raise ConfigError(f"{settings.out} was made with {before}, now it is {identity}")
        arrays = [group.get(image_array(name)) for name in POLICY_CAMERAS]
        if not all(isinstance(a, zarr.Array) and a.chunks[0] == 1 for a in arrays):
            raise ConfigError(
                f"{settings.out} was begun by an earlier version, with several pictures in a "
                "file; remove it and draw it again"
            )
        return task, int(read_demonstrations(settings.out, task).episode_ends[-1])
    data = first_episodes(read_demonstrations(settings.data, task), settings.episodes)
    check_states(settings.data, data)
    write_demonstrations(settings.out, data)
    group = zarr.open_group(str(settings.out), mode="r+")
    create_image_arrays(group, len(data.action))
    group.attrs["rendering"] = identity
    return task, len(data.action)


def read_task(path: Path) -> str:
    """Name of the task that a dataset says it is of.

    Raises:
        DataError: there is no such dataset.
    """
    try:
        return str(zarr.open_group(str(path), mode="r").attrs["task"])
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path} is no dataset of training.collect: {error}") from error


def first_episodes(data: Demonstrations, count: int | None) -> Demonstrations:
    """The first `count` episodes; all if None or if there are fewer."""
    if count is None or count >= data.num_episodes:
        return data
    end = int(data.episode_ends[count - 1])
    states = None if data.sim_state is None else data.sim_state[:end]
    ends = data.episode_ends[:count]
    return Demonstrations(
        data.task, data.state_obs[:end], data.action[:end], ends, data.source, data.seed, states
    )


def check_states(path: Path, data: Demonstrations) -> None:
    """Refuse demonstrations whose scenes are not known.

    Raises:
        DataError: with what to do.
    """
    states = data.sim_state
    if states is None:
        raise DataError(
            f"{path} has no sim_state (source: {data.source}): only simulated demonstrations can "
            "be drawn, collected with this version of training.collect"
        )
    model = build_scene(data.task, load_control_config()).compile()
    width = model.nq + 3 * model.nmocap
    if states.shape[1] != width:
        raise DataError(
            f"{path}: sim_state has {states.shape[1]} columns, expected {width} of {data.task}'s "
            "scene; collect it again with this version"
        )
    far = np.flatnonzero((np.abs(states) > _FAR).any(axis=1))
    if far.size:
        raise DataError(
            f"{path}: sim_state holds {np.abs(states[far[0]]).max():.3g} in row {far[0]}, "
            f"expected m and rad below {_FAR:g}; it is damaged: copy or collect it again"
        )


def run(settings: RenderSettings) -> dict[str, Any]:
    """Draw everything that is missing and report the speed.

    The limit is MuJoCo's renderer: `share_in_renderer` is the time that it takes of all, and
    `plain_steps_per_s` what one process draws of the same states without looks and shadows.
    """
    find_backend()
    task, frames = prepare(settings)
    units = range(0, frames, _UNIT_FRAMES)
    began = time.monotonic()
    with Progress() as progress:
        bar = progress.add_task("frames", total=frames)
        drawn = Drawn()
        for cost, unit in _draw_all(settings, task, units):
            drawn.add(cost)
            progress.advance(bar, min(_UNIT_FRAMES, frames - unit))
    seconds = time.monotonic() - began
    group = zarr.open_group(str(settings.out), mode="r+")
    group.attrs["provenance"] = {"command": describe_command(), "commit": describe_commit()}
    group.attrs[IMAGES_ATTRIBUTE] = list(POLICY_CAMERAS)
    limit = plain_rate(settings.out, task, min(frames, _LIMIT_FRAMES))
    figures = {
        "task": task,
        "out": str(settings.out),
        "steps": frames,
        "drawn": drawn.frames,
        "seconds": round(seconds, 1),
        "steps_per_s": round(drawn.frames / seconds, 1),
        "processes": settings.processes,
        "share_in_renderer": round(drawn.inside_s / max(drawn.seconds, 1e-9), 3),
        "plain_steps_per_s": round(limit, 1),
    }
    print(json.dumps(figures, indent=1))
    return figures


def _draw_all(settings: RenderSettings, task: str, units: range) -> Any:
    """Yield frames drawn and first frame of each unit, as they are done."""
    if settings.processes == 1:
        for unit in units:
            yield draw_unit(settings, task, unit), unit
        _workers.clear()
        return
    # spawn: OpenGL does not survive a fork
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(settings.processes, mp_context=context) as pool:
        jobs = {pool.submit(draw_unit, settings, task, unit): unit for unit in units}
        try:
            for job in as_completed(jobs):
                yield job.result(), jobs[job]
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def plain_rate(path: Path, task: str, frames: int) -> float:
    """Steps a second of the renderer alone in one process: the same states, without looks."""
    states = np.asarray(read_demonstrations(path, task).sim_state, dtype=np.float64)
    with Renderer(task) as renderer:
        nq = renderer.model.nq
        renderer.render_policy(states[0, :nq], states[0, nq:].reshape(-1, 3))
        began = time.perf_counter()
        for state in itertools.islice(states[:: max(1, len(states) // frames)], frames):
            renderer.render_policy(state[:nq], state[nq:].reshape(-1, 3))
        return frames / (time.perf_counter() - began)


def main() -> int:
    """Command-line entry."""
    return run_with_settings(
        "training.render",
        RenderSettings,
        run,
        __doc__,
        interrupted="interrupted; --resume goes on",
    )


if __name__ == "__main__":
    sys.exit(main())
