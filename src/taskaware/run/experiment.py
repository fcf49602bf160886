"""The experiment file: one TOML file says all that a run depends on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from taskaware.data.batches.settings import BatchingSettings
from taskaware.data.sound.settings import AugmentationSettings
from taskaware.decoding.scoring import DecodingSettings
from taskaware.model.settings import ModelSettings
from taskaware.settings import typed as settings
from taskaware.training.optimiser import OptimiserSettings
from taskaware.training.settings import (
    LearningSettings,
    ObjectiveSettings,
    RetentionSettings,
    TrainingSettings,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """What to train on.

    Attributes:
        folder: A folder that `taskaware prepare` made; a relative path counts from where the
            command runs.
        tasks: The tasks to train on, by name; empty: all of the data's.
        train_split: The split to train on.
        dev_split: The split that validations use; where the data has no split "dev", the last
            weights count as best. Any other name must be a split of the data.
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


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One run.

    Attributes:
        name: What tables and reports call it.
        data: What to train on.
        model: Sizes, regularisation, conditioning.
        start: The weights that training starts from, and what keeps their tasks.
        batching: How examples become updates.
        augmentation: How speech is changed on the way.
        objective: What is minimised.
        learning: Joint learning or meta-learning.
        optimiser: Adam and its learning rate.
        training: How long, how often to validate and save.
        decoding: How the finished model searches.
    """

    name: str
    data: DataSettings
    model: ModelSettings = field(default_factory=ModelSettings)
    start: StartSettings = field(default_factory=StartSettings)
    batching: BatchingSettings = field(default_factory=BatchingSettings)
    augmentation: AugmentationSettings = field(default_factory=AugmentationSettings)
    objective: ObjectiveSettings = field(default_factory=ObjectiveSettings)
    learning: LearningSettings = field(default_factory=LearningSettings)
    optimiser: OptimiserSettings = field(default_factory=OptimiserSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    decoding: DecodingSettings = field(default_factory=DecodingSettings)

    def validate(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what it must be) for every impossible value."""
        if not self.name or "/" in self.name:
            yield "name", "must be a word or words without a slash"
        if self.learning.second_order and self.objective.ctc_weight:
            yield (
                "learning",
                (
                    "must not be second-order where `objective.ctc_weight` is above 0: torch's "
                    "CTC loss has no second derivative"
                ),
            )


def load(path: Path, overrides: Sequence[str] = ()) -> Experiment:
    """Read an experiment file.

    Args:
        path: The TOML file.
        overrides: ``"section.field=value"`` each, over what the file says.

    Raises:
        ExperimentError: Unknown keys, wrong types, impossible values; each with file and line.
    """
    return settings.load(Experiment, path, overrides)


def dump(experiment: Experiment) -> str:
    """Return the experiment as TOML, every field spelled out."""
    return settings.dump(experiment)
