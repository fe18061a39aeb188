# SPDX-License-Identifier: Apache-2.0
"""Command line of `training.bc`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from resip_ros.core.errors import ConfigError
from training.program import check_numbers, check_run


@dataclass(frozen=True)
class BcConfig:
    """Command line of `training.bc`."""

    out: Path
    """Bundle to write, or to replace, for example models/one_leg/base."""
    data: tuple[Path, ...] = ()
    """Demonstrations (zarr), of training.collect, convert_bags, render or lerobot; of several
    datasets all."""
    task: str = "one_leg"
    """Task of the demonstrations."""
    network: Literal["mlp_s", "mlp_c", "unet", "transformer", "act"] = "unet"
    """MLP of one step or of a chunk, diffusion policy with U-Net or transformer, or ACT."""
    preset: Literal["small", "paper"] = "small"
    """Size and input of the network."""
    observation: Literal["state", "images"] = "state"
    """What the policy sees: the parts' poses, or pictures (a student: docs/student.md)."""
    real: Path | None = None
    """With pictures: real demonstrations, of which no pose is used; alone or with --data."""
    real_share: float | None = None
    """Share of real steps in each batch; by the cube-root rule if not given."""
    encoder_weights: Path | None = None
    """With pictures and --preset paper: ResNet-18 weights, of torchvision or R3M."""
    state_policy: Path | None = None
    """With pictures: a policy of the same task, network and preset that sees the state; it plans,
    as it is, and only eyes are learned, which tell the parts' poses."""
    start_from: Path | None = None
    """With pictures: a student that goes on learning, for example with what it has visited; with
    --state-policy its eyes, for another policy."""
    run_dir: Path | None = None
    """Checkpoint, TensorBoard and metrics.json; runs/bc/TASK-NETWORK-PRESET if not given."""
    steps: int | None = None
    """Gradient steps; the preset's if not given. Part of the schedule: resume with the same."""
    action_horizon: int | None = None
    """Steps of a plan that are executed before the next one is made; the preset's (8, ResiP) if
    not given. It changes nothing in training: --resume with another one writes the bundle anew."""
    batch: int = 256
    """Windows per gradient step, over all processes and shards."""
    learning_rate: float | None = None
    """Peak learning rate; the preset's if not given."""
    seed: int = 0
    """Of weights, batches and noise."""
    threads: int = 2
    """CPU threads for torch."""
    device: str = "cpu"
    """Torch device, for example cuda: of several processes each then takes a GPU of its own."""
    shards: int | None = None
    """Parts of a batch, each with random numbers of its own; one a process if not given. Runs with
    equally many shards are equal, however many processes share them."""
    eval_every: int = 1000
    """Steps between validations; each one also saves a checkpoint."""
    minutes: float | None = None
    """Stop after so many minutes, with checkpoint and bundle; --resume goes on."""
    resume: bool = False
    """Go on from the checkpoint in --run-dir."""
    wandb: str = ""
    """Project of Weights & Biases that gets the curves too (pip install 'resip_ros[wandb]')."""

    def __post_init__(self) -> None:
        """Refuse sizes that cannot be trained."""
        if not self.data and self.real is None:
            raise ConfigError("--data: no dataset given")
        check_numbers(
            self, "batch", "eval_every", "steps", "minutes", "learning_rate", "action_horizon"
        )
        check_run(self.seed, threads=self.threads)
        if self.shards is not None and not 1 <= self.shards <= self.batch:
            raise ConfigError(f"--shards: got {self.shards}, expected 1 to --batch {self.batch}")

    @property
    def resolved_run_dir(self) -> Path:
        """Where the run's own files go."""
        name = f"{self.task}-{self.network}-{self.preset}"
        name += "" if self.observation == "state" else f"-{self.observation}"
        return self.run_dir or Path("runs") / "bc" / name
