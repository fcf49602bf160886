"""The weights of the best validations: a file an update, whichever task it was best for.

::

    best_weights/update-00001000.safetensors

A file is kept while the run, or a checkpoint that it may resume from, calls its update the best for
all tasks or for one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from safetensors import SafetensorError, safe_open

from taskaware.errors import CheckpointError
from taskaware.files import atomic_file, reporting
from taskaware.training.checkpoint import read_content
from taskaware.training.tensors import weights, write_tensors

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from torch import nn


class BestWeights:
    """Keeps the weights of the best validations in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, update: int) -> Path:
        """Where the weights of an update are, or would be."""
        return self._folder / f"update-{update:08d}.safetensors"

    def write(self, model: nn.Module, update: int) -> None:
        """Keep the weights as they are after an update.

        Raises:
            WriteError: The disk is full, for example.
        """
        with atomic_file(self.path(update)) as partial:
            write_tensors(partial, weights(model))

    def missing(self, best: Mapping[str, Mapping[str, float]]) -> list[str]:
        """Return what the best weights are missing or damaged for: ``"all"``, or a task."""
        return [name for name, found in best.items() if not self._is_there(int(found["update"]))]

    def prune(self, best: Mapping[str, Mapping[str, float]], checkpoints: Iterable[Path]) -> None:
        """Delete what neither ``best`` nor a checkpoint needs.

        Raises:
            WriteError: The folder may not be changed.
        """
        needed = {self.path(int(found["update"])) for found in best.values()}
        for checkpoint in checkpoints:
            try:
                content = read_content(checkpoint)
            except CheckpointError:
                continue
            needed |= {self.path(int(found["update"])) for found in content["best"].values()}
        with reporting(self._folder):
            for path in self._folder.glob("update-*.safetensors"):
                is_ours = path.stem.removeprefix("update-").isdecimal()  # not a copy by somebody
                if is_ours and path not in needed:
                    path.unlink()

    def _is_there(self, update: int) -> bool:
        try:
            with safe_open(self.path(update), framework="pt"):
                return True
        except (OSError, SafetensorError):
            return False
