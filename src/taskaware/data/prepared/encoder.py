"""The encoder whose outputs a prepared folder holds in place of features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from taskaware.types import EncoderPrecision  # noqa: TC001 -- read when checked

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, kw_only=True)
class EncoderRecord:
    """What is known of an encoder without its weights.

    Attributes:
        sha256: Of its weights, its front end and the settings of its features, in hexadecimal: two
            encoders have the same one where they put out the same.
        width: D of its outputs.
        frames_per_position: Feature frames that one of its positions stands for.
        model: The model folder that it was read from, for messages.
        precision: What it computed in: `bfloat16` autocast is faster where the machine has it, and
            not the same.
    """

    sha256: str
    width: int
    frames_per_position: int
    model: str
    precision: EncoderPrecision = "float32"

    def validate(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what it must be) for every impossible value."""
        for name in ("width", "frames_per_position"):
            if not 1 <= getattr(self, name) < 1 << 31:
                yield name, f"must be at least 1, but is {getattr(self, name)}"
