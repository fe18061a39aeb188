# SPDX-License-Identifier: Apache-2.0
"""Do the initial states of a task rest without overlap?

    python -m training.check_states one_leg --states 1000 --randomness med

Settles initial states 0, 1, ... of a seed as every episode does, and reports the deepest overlap
of any two bodies.
"""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import mujoco
import numpy as np
import tyro
from rich.progress import track

from resip_ros.core.arms import Arm
from resip_ros.core.config import load_control_config
from resip_ros.core.errors import ConfigError, ResipError
from resip_ros.core.results import write_json_atomically
from resip_ros.core.tasks import get_task
from resip_ros.sim.arm import find_arms
from resip_ros.sim.initial_states import InitialState, sample_initial_state
from resip_ros.sim.scene import build_scene
from training.program import run_with_settings

MAX_OVERLAP_M = 1e-4
"""Contacts at rest sink in by some micrometres; this is overlap."""


@dataclass(frozen=True)
class CheckSettings:
    """What to check."""

    task: Annotated[str, tyro.conf.Positional]
    """Task name, for example one_leg."""
    states: int = 1000
    """Initial states."""
    randomness: str = "low"
    """Spread of the initial states: low, med or high."""
    seed: int = 0
    """Seed of the initial states."""
    num_threads: int = 2
    """CPU threads."""
    json: Path | None = None
    """File to write the figures to."""


def measure_overlap(
    model: mujoco.MjModel,
    state: InitialState,
    opening_m: float,
    arms: tuple[Arm, ...] = (Arm(),),
) -> float:
    """Deepest overlap of two bodies in an initial state, m; 0 when nothing touches.

    Args:
        model: Scene of the state's task.
        state: Arms, parts and fixture.
        opening_m: How far each finger is open, m.
        arms: The task's.
    """
    data = mujoco.MjData(model)
    where = find_arms(model, arms)
    data.qpos[where.qpos] = state.joints.reshape(where.qpos.shape)
    data.qpos[where.fingers] = opening_m
    for name, pose in state.part_qpos.items():
        data.joint(name).qpos[:] = pose
    data.mocap_pos[:] = state.mocap_pos
    mujoco.mj_forward(model, data)
    return float(max(0.0, -data.contact.dist.min())) if data.ncon else 0.0


def check(settings: CheckSettings) -> dict[str, Any]:
    """Settle, measure, summarise.

    Raises:
        ResipError: when a state does not settle or bodies overlap.
    """
    if settings.states < 1:
        raise ConfigError(f"--states: got {settings.states}, expected at least 1")
    config, task = load_control_config(), get_task(settings.task)
    model = build_scene(settings.task, config).compile()
    opening = config.gripper_max_width_m / 2

    def overlap(index: int) -> float:
        state = sample_initial_state(
            model, task, config, settings.randomness, settings.seed, index
        )
        return measure_overlap(model, state, opening, task.arms)

    with ThreadPoolExecutor(settings.num_threads) as workers:
        found = workers.map(overlap, range(settings.states))
        overlaps = list(track(found, "states", total=settings.states, transient=True))
    worst = int(np.argmax(overlaps))
    figures = {
        "task": settings.task,
        "randomness": settings.randomness,
        "seed": settings.seed,
        "states": settings.states,
        "overlap_um": {
            "p50": round(1e6 * float(np.median(overlaps)), 2),
            "max": round(1e6 * overlaps[worst], 2),
        },
        "worst_state": worst,
    }
    print(json.dumps(figures, indent=1))
    if settings.json is not None:
        write_json_atomically(settings.json, figures)
    if overlaps[worst] > MAX_OVERLAP_M:
        raise ResipError(
            f"{settings.task}: bodies overlap by {1e3 * overlaps[worst]:.2f} mm in initial state "
            f"{worst}; expected at most {1e3 * MAX_OVERLAP_M} mm: move the nominal poses apart"
        )
    return figures


def main() -> int:
    """Command-line entry."""
    return run_with_settings("training.check_states", CheckSettings, check, __doc__)


if __name__ == "__main__":
    sys.exit(main())
