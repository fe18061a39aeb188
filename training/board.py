# SPDX-License-Identifier: Apache-2.0
"""Scalars of a run while it runs: TensorBoard, and Weights & Biases beside it where asked for."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from resip_ros.core.errors import ConfigError

ID_FILE = "wandb_id"
"""In the run's folder: its id at Weights & Biases, so that a resume goes on there."""


class Board:
    """Where curves go; appended to when a run is resumed."""

    def __init__(
        self,
        folder: Path,
        *,
        wandb_project: str = "",
        settings: dict[str, Any] | None = None,
        from_step: int | None = None,
    ) -> None:
        """Open the curves of a run.

        Args:
            folder: Of TensorBoard's files.
            wandb_project: Project of Weights & Biases; empty: only TensorBoard.
            settings: Of the run, for Weights & Biases.
            from_step: TensorBoard forgets what an earlier process wrote from this step on.

        Raises:
            ConfigError: when Weights & Biases is asked for and cannot be had.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._run = _open_wandb(folder, wandb_project, settings) if wandb_project else None
        self._writer = SummaryWriter(str(folder), purge_step=from_step)

    def scalar(self, name: str, value: float, step: int) -> None:
        """One point of a curve."""
        self._writer.add_scalar(name, value, step)
        if self._run is not None:
            self._run.log({name: value}, step=step)

    def close(self) -> None:
        """Flush what was written."""
        self._writer.close()
        if self._run is not None:
            self._run.finish()

    def __enter__(self) -> Board:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _open_wandb(folder: Path, project: str, settings: dict[str, Any] | None) -> Any:
    try:
        import wandb  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise ConfigError(
            f"--wandb {project}: the package wandb is not installed; "
            "pip install 'resip_ros[wandb]', or leave --wandb out"
        ) from None
    id_file = folder / ID_FILE
    if not id_file.exists():
        id_file.write_text(uuid.uuid4().hex[:12])
    try:
        return wandb.init(
            project=project,
            id=id_file.read_text().strip(),
            resume="allow",
            dir=str(folder),
            config=settings,
        )
    except wandb.Error as error:
        raise ConfigError(
            f"--wandb {project}: {error}; log in with `wandb login`, or keep the run here with "
            "WANDB_MODE=offline"
        ) from error
