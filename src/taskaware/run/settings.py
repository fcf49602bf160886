"""What a run trains on and what it starts from. Imports no torch."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taskaware.files import parse_json, read_regular
from taskaware.training.settings import RetentionSettings, Trains

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


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
            fine-tuning. The model keeps all the tasks of the start, and gets those of the data that
            the start does not have; `data.tasks` says which are trained. `"none"`: new weights.
        trains: What is trained; the rest is frozen and needs neither gradient nor memory of the
            optimiser. `everything`; `decoder`: its blocks and norms, the embedding, the task
            network, and the bridge to it, if any; `bridge`: the bridge, the task network and the
            decoder's attention to the encoder; `task_network_and_norms`: the task network, if any,
            and all layer norms; `task_network_and_bottlenecks`: the task network and the
            bottlenecks that t_e scales, also those that the start has; `task_network`;
            `task_embedding`: the t_e of the tasks that are trained, a vector each, as prompt tuning
            does; `adapters`: the `model.adapters` of the tasks that are trained. With all but
            `task_embedding`, bottlenecks and an encoder of texts that the start has not. With
            the last three the tasks that are not trained keep their outputs bit for bit.
        share: How much of the start's weights the finished models have, from 0 to below 1: their
            weights are the mean of the start's and the trained ones, weighted by it (WiSE-FT,
            Wortsman et al. 2022, arXiv:2109.01903). Checkpoints have the trained ones alone, so
            that a finished run that is given another share writes its models anew.
        retention: What keeps the start's other tasks from being forgotten.
    """

    model: Path | None = None
    trains: Trains = "everything"
    share: float = 0.0
    retention: RetentionSettings = field(default_factory=RetentionSettings)

    @property
    def freezes_base(self) -> bool:
        """Whether nothing is trained that the outputs of a task that is not trained depend on."""
        return self.trains in ("task_network", "task_embedding", "adapters")

    @property
    def keeps_task_embeddings(self) -> bool:
        """Whether tasks that are not trained keep their t_e."""
        return self.freezes_base or self.trains == "task_network_and_bottlenecks"

    @property
    def freezes_encoder(self) -> bool:
        """Whether nothing of the encoder and its front ends is trained."""
        return self.trains not in ("everything", "task_network_and_norms")

    def validate(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what it must be) for every impossible value."""
        if self.model is None and self.trains != "everything":
            yield "model", f"must be set where `start.trains` is '{self.trains}'"
        if self.freezes_base and self.retention.method != "none":
            yield (
                "retention",
                f"must have the method 'none' where `start.trains` is '{self.trains}': the other "
                "tasks stay as they are, bit for bit",
            )
        if not 0 <= self.share < 1:
            yield "share", "must be at least 0 and below 1"
        if self.share and self.model is None:
            yield "model", "must be set where `start.share` is above 0"
        if self.share and self.freezes_base:
            yield "share", f"must be 0 where `start.trains` is '{self.trains}': the rest is frozen"
        if self.model is None and self.retention.method != "none":
            yield "model", "must be set where `start.retention.method` is: there is nothing to keep"


def settings_of_the_start(mapping: Mapping[str, Any]) -> dict[str, Any]:
    """Return the sections ``model`` and ``decoding`` of what an experiment starts from.

    Args:
        mapping: The experiment, as its file and overrides say it.

    Returns:
        Nothing where there is no start, or none that says it: what is wrong with it is told where
        it is opened.
    """
    start = mapping.get("start")
    model = start.get("model") if isinstance(start, dict) else None
    if not isinstance(model, str) or model == "none":
        return {}
    folder = Path(model)
    run = folder.parent.parent if folder.parent.name == "checkpoints" else folder
    for path in (run / "model" / "model.json", run / "model.json", run / "experiment.toml"):
        try:
            text = read_regular(path).decode("utf-8")
            content = parse_json(text) if path.suffix == ".json" else tomllib.loads(text)
            return {name: dict(content[name]) for name in ("model", "decoding")}
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            continue
    return {}
