"""Training from what the start's encoder put out earlier: where that is not the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from taskaware.errors import ExperimentError
from taskaware.inference.data_fit import require_encoder
from taskaware.run.settings import StartSettings
from taskaware.training.settings import Trains

if TYPE_CHECKING:
    from taskaware.data.prepared.folder import PreparedData
    from taskaware.model.transformer import TaskAwareTransformer
    from taskaware.run.experiment import Experiment


def require_frozen_encoder(experiment: Experiment, data: PreparedData) -> None:
    """Check that nothing changes the encoder's outputs that the data holds, where it holds them.

    Raises:
        ExperimentError: The run has new weights, trains or modulates the encoder, reads what
            enters it, or augments what it hears.
    """
    if data.encoder is None:
        return
    holds = f"{data.folder} holds outputs of the encoder of {data.encoder.model}"
    conditioning, start = experiment.model.conditioning, experiment.start
    if start.model is None:
        raise ExperimentError(
            f"`start.model` must be set where {holds}: a run from new weights has another encoder"
        )
    if not start.freezes_encoder:
        raise ExperimentError(
            f"`start.trains` must leave the encoder as it is ({_leaving_the_encoder()}) where "
            f"{holds}, but is '{start.trains}'"
        )
    if conditioning.cue == "implicit" and not conditioning.reads_encoded:
        raise ExperimentError(
            f"`model.conditioning.implicit_reads` must be 'encoded' where {holds}, but is "
            f"'{conditioning.implicit_reads}': what enters the encoder is not there to be read"
        )
    if experiment.model.modulates_encoder:
        raise ExperimentError(
            f"`model.conditioning.film_on` must be 'decoder' where {holds}, but is "
            f"'{conditioning.film_on}': the task embedding would modulate the encoder"
        )
    adapters = experiment.model.adapters
    if adapters.method != "none" and adapters.where != "decoder":
        raise ExperimentError(
            f"`model.adapters.where` must be 'decoder' where {holds}, but is '{adapters.where}'"
        )
    if experiment.augmentation.changes_signal or experiment.augmentation.masks_features:
        raise ExperimentError(
            f"`augmentation` must change nothing where {holds}: neither signal nor features are "
            "there to be changed"
        )


def _leaving_the_encoder() -> str:
    words = (word for word in get_args(Trains) if StartSettings(trains=word).freezes_encoder)
    return ", ".join(f"'{word}'" for word in words)


def require_own_encoder(
    experiment: Experiment, data: PreparedData, model: TaskAwareTransformer
) -> None:
    """Check that the outputs in the data are those of the start's encoder.

    Raises:
        DataError: They are another's.
    """
    where = str(experiment.start.model)
    require_encoder(data, model, experiment.model, data.feature_settings, where=where)
