"""What a run trains on and what it starts from. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from taskaware.training.settings import RetentionSettings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """What to train on.

    Attributes:
        folder: A folder that `taskaware prepare` made; a relative path is relative to the
            working directory.
        tasks: The tasks to train on, by name; empty: all of the data's.
        train_split: The split to train on.
        dev_split: The split that validations use; if the data have no split "dev", the last
            weights are the best. Any other name must be a split of the data.
    """

    folder: Path
    tasks: tuple[str, ...] = ()
    train_split: str = "train"
    dev_split: str = "dev"

    def validate(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what it must be) for every impossible value."""
        if len(set(self.tasks)) < len(self.tasks):
            yield "tasks", "must name each task once"


@dataclass(frozen=True, kw_only=True)
class StartSettings:
    """Where a run starts.

    Attributes:
        model: A finished run, one of its models (`runs/NAME/best`), or one of its checkpoints
            (`runs/NAME/checkpoints/update-00001000`), whose weights the run starts from:
            fine-tuning. The model keeps all the tasks of the start; `data.tasks` says which are
            trained. `"none"`: new weights.
        retention: What keeps the start's other tasks from being forgotten.
    """

    model: Path | None = None
    retention: RetentionSettings = field(default_factory=RetentionSettings)

    def validate(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what it must be) for every impossible value."""
        if self.model is None and self.retention.method != "none":
            yield "model", "must be set where `start.retention.method` is: there is nothing to keep"
