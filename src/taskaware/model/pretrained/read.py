"""A folder in Hugging Face's layout, read as a model of ours."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from taskaware.errors import CheckpointError
from taskaware.model.create_model import create_model
from taskaware.model.pretrained.m2m100 import from_m2m100
from taskaware.model.pretrained.marian import from_marian
from taskaware.model.pretrained.source import Config, Pretrained, Tensors, read_config, read_tensors
from taskaware.model.pretrained.speech2text import from_speech2text
from taskaware.model.pretrained.whisper import from_whisper
from taskaware.model.undrawn import undrawn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from taskaware.model.transformer import TaskAwareTransformer
    from taskaware.types import Task

FAMILIES = ("whisper", "speech_to_text", "marian", "m2m_100")


def read_pretrained(folder: Path | str) -> Pretrained:
    """Read ``config.json`` and the weights in safetensors; nothing is executed.

    Raises:
        CheckpointError: It is no such folder, of an unknown family, or its parts do not fit.
    """
    folder = Path(folder)
    config = read_config(folder)
    check_family(config)
    return convert(config, read_tensors(folder))


def check_family(config: Config) -> None:
    """Refuse a family that has no adapter, before its weights are read.

    Raises:
        CheckpointError: Names the families.
    """
    family = config.values.get("model_type")
    if family not in FAMILIES:
        raise CheckpointError(
            f"{config.where}: model_type must be one of {', '.join(FAMILIES)} (Whisper, "
            f"Speech2Text, Marian/OPUS-MT, M2M100/NLLB), but is {family!r}"
        )


def convert(config: Config, tensors: Tensors) -> Pretrained:
    """Return the model that configuration and tensors describe; the tensors are used up.

    Raises:
        CheckpointError: They are not those of one of the families.
    """
    check_family(config)
    if not any(name.startswith("model.") for name in tensors.found):
        # Saved without its output layer, as the bare model.
        tensors.found = {f"model.{name}": tensor for name, tensor in tensors.found.items()}
    match config.values["model_type"]:
        case "whisper":
            pretrained = from_whisper(config, tensors)
        case "speech_to_text":
            pretrained = from_speech2text(config, tensors)
        case "marian":
            pretrained = from_marian(config, tensors)
        case _:
            pretrained = from_m2m100(config, tensors)
    problems = [f"{name} {message}" for name, message in pretrained.settings.validate()]
    if problems:
        raise CheckpointError(
            f"{config.where} must describe a model that can be, but: {'; '.join(problems)}"
        )
    return pretrained


def create_pretrained(pretrained: Pretrained, tasks: Sequence[Task]) -> TaskAwareTransformer:
    """Return our model with the weights of another, in evaluation mode.

    Args:
        pretrained: The other.
        tasks: What it can do; at least one of its modality.

    Raises:
        CheckpointError: No task is of its modality.
    """
    if all(task.source_modality != pretrained.modality for task in tasks):
        raise CheckpointError(
            f"a {pretrained.family} model must have a task for {pretrained.modality}, but its "
            f"tasks are {', '.join(task.name for task in tasks) or 'none'}"
        )
    with undrawn():
        model = create_model(
            pretrained.settings, vocabulary_size=pretrained.vocabulary_size, tasks=tasks
        )
    model.load_state_dict(pretrained.tensors, strict=True)
    return model.eval()
