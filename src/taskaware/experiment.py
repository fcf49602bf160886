"""The experiment file: one TOML file says all that a run depends on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from taskaware import settings
from taskaware.data.batching_settings import BatchingSettings
from taskaware.decoding.scoring import DecodingSettings
from taskaware.model.settings import ModelSettings
from taskaware.training.optimiser import OptimiserSettings
from taskaware.training.settings import ObjectiveSettings, TrainingSettings

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
        dev_split: The split that validations use; where the data has none, the last weights count
            as best.
    """

    folder: Path
    tasks: tuple[str, ...] = ()
    train_split: str = "train"
    dev_split: str = "dev"


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One run.

    Attributes:
        name: What tables and reports call it.
        data: What to train on.
        model: Sizes, regularisation, conditioning.
        batching: How examples become updates.
        objective: What is minimised.
        optimiser: Adam and its learning rate.
        training: How long, how often to validate and save.
        decoding: How the finished model searches.
    """

    name: str
    data: DataSettings
    model: ModelSettings = field(default_factory=ModelSettings)
    batching: BatchingSettings = field(default_factory=BatchingSettings)
    objective: ObjectiveSettings = field(default_factory=ObjectiveSettings)
    optimiser: OptimiserSettings = field(default_factory=OptimiserSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    decoding: DecodingSettings = field(default_factory=DecodingSettings)

    def validate(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what it must be) for every impossible value."""
        if not self.name or "/" in self.name:
            yield "name", "must be a word or words without a slash"


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
