"""The experiment file: one TOML file says all that a run depends on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from taskaware.data.batches.settings import BatchingSettings
from taskaware.data.sound.settings import AugmentationSettings
from taskaware.decoding.settings import DecodingSettings
from taskaware.model.settings import ModelSettings
from taskaware.run.settings import DataSettings, StartSettings, settings_of_the_start
from taskaware.settings import typed as settings
from taskaware.training.settings import (
    LearningSettings,
    ObjectiveSettings,
    OptimiserSettings,
    TrainingSettings,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One run.

    Attributes:
        name: The run's name in tables and reports.
        data: What to train on.
        model: Sizes, regularisation, conditioning.
        start: The weights that training starts from, and what keeps their tasks.
        batching: How batches are made.
        augmentation: How speech is changed during training.
        objective: The objective.
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
        if not settings.is_folder_name(self.name):
            yield "name", "must be a word or words without a slash"
        cue = self.model.conditioning.cue
        has_adapters = self.model.adapters.method != "none"
        trains_adapters = self.start.trains == "adapters"
        if trains_adapters and not has_adapters:
            yield (
                "start",
                "must have another `trains` than 'adapters' where `model.adapters.method` is "
                "'none': set the method",
            )
        if has_adapters and not trains_adapters:
            yield (
                "start",
                "must have the `trains` 'adapters' where the model has some "
                f"(`model.adapters.method` is '{self.model.adapters.method}'), but has "
                f"'{self.start.trains}': trained adapters would be those of another base. "
                "`taskaware export --as plain` merges those of a task into the weights",
            )
        if has_adapters and self.batching.mix == "within_batches":
            yield (
                "batching",
                "must not have the mix 'within_batches' where the model has adapters: a batch is "
                "read with those of one task",
            )
        only_task_network = self.start.keeps_task_embeddings and not trains_adapters
        if only_task_network and not self.model.conditioning.has_task_network:
            yield (
                "start",
                f"must have another `trains` than '{self.start.trains}' where "
                f"`model.conditioning.cue` is '{cue}': only with 'explicit' and 'implicit' is "
                "there a task network",
            )
        shares_batches = self.batching.mix == "within_batches"
        if shares_batches and self.learning.strategy == "meta":
            yield "batching", "must not have the mix 'within_batches' in meta-learning"
        if shares_batches and self.start.retention.method != "none":
            yield (
                "batching",
                "must not have the mix 'within_batches' where `start.retention.method` is "
                f"'{self.start.retention.method}', which asks for batches of one task",
            )
        if self.training.sharded:
            retention = self.start.retention.method
            excluded = {
                "learning.strategy = 'meta'": self.learning.strategy == "meta",
                f"start.retention.method = '{retention}'": retention != "none",
                "start.trains = 'adapters'": trains_adapters,
            }
            for what in (name for name, is_so in excluded.items() if is_so):
                yield (
                    "training",
                    f"must not be `sharded` with `{what}`, which needs whole weights",
                )
        if self.start.trains == "bridge" and not self.model.bridge.num_layers:
            yield (
                "start",
                "must not train the bridge where there is none (`model.bridge.num_layers` is 0): "
                "`taskaware import --decoder-of` makes a model with one",
            )
        if self.decoding.ctc_weight and not self.objective.ctc_weight and not self.start.model:
            yield (
                "decoding",
                "must not have a `ctc_weight` where `objective.ctc_weight` is 0: what CTC says of "
                "a text is then not learnt",
            )
        if self.learning.second_order and self.objective.ctc_weight:
            yield (
                "learning",
                (
                    "must not be second-order where `objective.ctc_weight` is above 0: torch's "
                    "CTC loss has no second derivative"
                ),
            )


def load(path: Path, overrides: Sequence[str] = (), *, from_start: bool = False) -> Experiment:
    """Read an experiment file.

    Args:
        path: The TOML file.
        overrides: ``"section.field=value"`` each, over what the file says.
        from_start: Whether fields of ``[model]`` and ``[decoding]`` that neither file, overrides
            nor a preset give are those of the start, where there is one.

    Raises:
        ExperimentError: Unknown keys, wrong types, impossible values; each with file and line.
    """
    below = settings_of_the_start if from_start else None
    return settings.load(Experiment, path, overrides, below=below)


def dump(experiment: Experiment) -> str:
    """Return the experiment as TOML, every field spelled out."""
    return settings.dump(experiment)
