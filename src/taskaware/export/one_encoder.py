"""The one encoder that a task needs, of a model whose texts have an encoder of their own."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from taskaware.model.settings import BridgeSettings, EncoderSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from taskaware.model.settings import ModelSettings
    from taskaware.types import Task

_OF_SPEECH = ("source_positions.", "encoder.", "encoder_norm.", "bridge.")
_OF_TEXTS = "text_encoder."
_NAMES = {
    **{"positions.": "source_positions.", "blocks.": "encoder.", "norm.": "encoder_norm."},
    "entrance.": "source_film.",
}


def reads_by_own_encoder(settings: ModelSettings, task: Task) -> bool:
    """Return whether a task has a text source that an encoder of texts reads."""
    return settings.num_text_encoder_layers > 0 and task.modality.is_text


def settings_of_one_encoder(settings: ModelSettings, task: Task) -> ModelSettings:
    """Return a model's settings with the encoder alone that a task needs."""
    if not reads_by_own_encoder(settings, task):
        return replace(settings, num_text_encoder_layers=0)
    return replace(
        settings,
        num_encoder_layers=settings.num_text_encoder_layers,
        num_text_encoder_layers=0,
        encoder=EncoderSettings(),
        encoder_block="transformer",
        bridge=BridgeSettings(),
        source_positions=settings.target_positions,
        num_source_positions=settings.num_target_positions,
        folded=replace(settings.folded, source=settings.has_text_entrance),
    )


def tensors_of_one_encoder(
    tensors: Mapping[str, Tensor], settings: ModelSettings, task: Task
) -> dict[str, Tensor]:
    """Return a model's weights with the encoder alone that a task needs, named as the only one."""
    if not reads_by_own_encoder(settings, task):
        return {name: value for name, value in tensors.items() if not name.startswith(_OF_TEXTS)}
    return {
        _as_only_one(name): value
        for name, value in tensors.items()
        if not name.startswith(_OF_SPEECH)
    }


def _as_only_one(name: str) -> str:
    if not name.startswith(_OF_TEXTS):
        return name
    own = name.removeprefix(_OF_TEXTS)
    part = next(part for part in _NAMES if own.startswith(part))
    return _NAMES[part] + own.removeprefix(part)
