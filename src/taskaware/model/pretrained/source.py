"""What the files of a pretrained model hold: configuration and tensors, each asked for by name.

Nothing is executed: a pickle is refused. What is missing, left over or of another shape is
collected and reported together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from taskaware.errors import CheckpointError
from taskaware.files import read_json_object, require_regular

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from taskaware.model.settings import ModelSettings
    from taskaware.types import Modality

_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
_MANY = 8  # names shown in one message
_ALWAYS_HELD = 1 << 20  # numbers: the zeros in place of a tensor that is missing
_ALWAYS_NAMED = 1000  # problems


@dataclass(frozen=True, kw_only=True)
class Pretrained:
    """A model of another library as one of ours.

    Attributes:
        family: Its ``model_type``.
        settings: What ``create_model`` needs, without a cue.
        tensors: The weights of the model that ``create_model`` makes, by our names.
        vocabulary_size: Pieces of the embedding.
        modality: What it reads.
        begin: Id of the decoder's first piece.
        end: Id of the end-of-sequence piece.
        pad: Id of the piece that fills a batch.
    """

    family: str
    settings: ModelSettings
    tensors: dict[str, Tensor]
    vocabulary_size: int
    modality: Modality
    begin: int
    end: int
    pad: int


@dataclass
class Config:
    """A ``config.json``.

    Attributes:
        values: What it says.
        where: What to call it in messages.
    """

    values: Mapping[str, Any]
    where: str = "config.json"

    def number(self, name: str, default: int | None = None) -> int:
        """Return a whole number.

        Raises:
            CheckpointError: It is missing and has no default, or is no whole number.
        """
        value = self.values.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int):
            raise CheckpointError(
                f"{self.where}: {name} must be a whole number, but is {value!r}"
                if name in self.values
                else f"{self.where}: {name} must be set to a whole number, but is missing"
            )
        return value

    def share(self, name: str, default: float) -> float:
        """Return a share from 0 to 1, such as dropout."""
        value = self.values.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
            raise CheckpointError(
                f"{self.where}: {name} must be at least 0 and below 1, but is {value!r}"
            )
        return float(value)

    def flag(self, name: str, *, default: bool) -> bool:
        """Return true or false."""
        value = self.values.get(name, default)
        if not isinstance(value, bool):
            raise CheckpointError(f"{self.where}: {name} must be true or false, but is {value!r}")
        return value

    def require(self, name: str, wanted: Any, *, default: Any) -> None:
        """Refuse a value that our model has no option for."""
        value = self.values.get(name, default)
        if value != wanted:
            raise CheckpointError(
                f"{self.where}: {name} must be {wanted!r}, but is {value!r}: models with it cannot "
                "be imported"
            )

    def both(self, name: str) -> int:
        """Return a number that encoder and decoder must share, such as ``attention_heads``."""
        encoder, decoder = self.number(f"encoder_{name}"), self.number(f"decoder_{name}")
        if encoder != decoder:
            raise CheckpointError(
                f"{self.where}: encoder_{name} and decoder_{name} must be equal, but are {encoder} "
                f"and {decoder}: models with two sizes cannot be imported"
            )
        return encoder


@dataclass
class Tensors:
    """The tensors of a model by their names, taken one after the other.

    Attributes:
        found: Those that are left.
        where: What to call the files in messages.
        problems: What is missing or of another shape, so far.
    """

    found: dict[str, Tensor]
    where: str = "model.safetensors"
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._num_values = sum(tensor.numel() for tensor in self.found.values())
        self._num_tensors = len(self.found)

    def take(self, name: str, *shape: int) -> Tensor:
        """Return a tensor in float32; where it does not fit, zeros, and ``finish`` raises.

        Raises:
            CheckpointError: It would be larger than all that the files hold together, or more is
                missing than they hold: a configuration may claim any size, and any depth.
        """
        most_values = max(self._num_values, _ALWAYS_HELD)
        is_too_much = min(shape) < 0 or math.prod(shape) > most_values
        if is_too_much or len(self.problems) > max(self._num_tensors, _ALWAYS_NAMED):
            shown = f"{name}, of the shape {list(shape)}"
            self.problems.append(f"they cannot hold {shown}, and what comes after it")
            self.found.clear()
            self.finish()
        tensor = self.found.pop(name, None)
        if tensor is None:
            self.problems.append(f"{name} is missing (it must have the shape {list(shape)})")
        elif tuple(tensor.shape) != shape:
            self.problems.append(
                f"{name} must have the shape {list(shape)}, but has {list(tensor.shape)}"
            )
        elif not tensor.is_floating_point():
            self.problems.append(f"{name} must hold real numbers, but holds {tensor.dtype}")
        elif not bool(torch.isfinite(held := tensor.to(torch.float32)).all()):
            self.problems.append(f"{name} must hold finite numbers of float32, but has others")
        else:
            return held
        return torch.zeros(shape)

    def take_shared(self, names: Sequence[str], *shape: int) -> Tensor:
        """Return one tensor that is stored under one or more of these names."""
        present = [name for name in names if name in self.found] or [names[0]]
        first, *others = [self.take(name, *shape) for name in present]
        for name, other in zip(present[1:], others, strict=True):
            if not torch.equal(first, other):
                self.problems.append(
                    f"{name} must equal {present[0]}, as the model shares them, but does not"
                )
        return first

    def finish(self) -> None:
        """Refuse what did not fit and what nobody took.

        Raises:
            CheckpointError: Names the tensors.
        """
        problems = self.problems + [f"{name} is not known" for name in sorted(self.found)]
        if problems:
            more = f"; and {len(problems) - _MANY} more" if len(problems) > _MANY else ""
            raise CheckpointError(
                f"{self.where} must hold the tensors that config.json describes, but "
                f"{'; '.join(problems[:_MANY])}{more}"
            )


def read_config(folder: Path) -> Config:
    """Read ``config.json``.

    Raises:
        CheckpointError: It is missing or no JSON object.
    """
    path = folder / "config.json"
    try:
        return Config(read_json_object(path), where=str(path))
    except FileNotFoundError as error:
        raise CheckpointError(
            f"{folder} must be a folder in Hugging Face's layout, but has no config.json"
        ) from error
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} must be readable JSON, but: {error}") from error


def read_tensors(folder: Path) -> Tensors:
    """Read ``model.safetensors``, or the parts that ``model.safetensors.index.json`` lists.

    Raises:
        CheckpointError: They are missing or damaged, or the weights are a pickle.
    """
    index = folder / "model.safetensors.index.json"
    if (folder / "model.safetensors").is_file():
        parts = ["model.safetensors"]
    elif index.is_file():
        parts = _parts(index)
    else:
        raise CheckpointError(_no_weights(folder))
    found: dict[str, Tensor] = {}
    for part in parts:
        try:
            require_regular(folder / part)
            found.update(load_file(folder / part))
        except (OSError, SafetensorError) as error:
            raise CheckpointError(
                f"{folder / part} must be a whole safetensors file, but: {error}; copy it again"
            ) from error
    return Tensors(found, where=str(folder / parts[0]) if len(parts) == 1 else str(folder))


def _parts(index: Path) -> list[str]:
    try:
        weight_map = read_json_object(index)["weight_map"]
        parts = sorted(set(weight_map.values()))
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise CheckpointError(
            f"{index} must be a JSON object with a `weight_map` of names to files, but: {error!r}"
        ) from error
    for part in parts:
        if not isinstance(part, str) or Path(part).name != part or "\0" in part:
            raise CheckpointError(f"{index} must name files beside it, but names {part!r}")
    return parts


def _no_weights(folder: Path) -> str:
    pickles = sorted(path.name for pattern in _PICKLES for path in folder.glob(pattern))
    if not pickles:
        return f"{folder} must hold model.safetensors, but has no weights"
    return (
        f"{folder} must hold model.safetensors, but has {pickles[0]}: a pickle can run any program "
        "when it is read, so it is refused. Where you trust its source, convert it with the "
        "transformers library: `model = AutoModelForSeq2SeqLM.from_pretrained(FOLDER); "
        "model.save_pretrained(NEW_FOLDER)` (Whisper, Speech2Text: AutoModelForSpeechSeq2Seq)"
    )
