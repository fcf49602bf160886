"""Adapters, to compare a task embedding with. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

AdapterMethod = Literal["none", "lora", "ia3", "layer_norms", "bottleneck"]


@dataclass(frozen=True, kw_only=True)
class AdapterSettings:
    """Small weights beside a frozen base, one set a task, to compare a task embedding with.

    Attributes:
        method: `none`; `lora` (Hu et al. 2022): the product of two thin matrices beside every
            linear layer of the blocks; `ia3` (Liu et al. 2022): factors of keys, of values and of
            what is inside the feed-forward layers, and of queries where one product makes all
            three; `layer_norms`: norms of each task's own; `bottleneck` (Houlsby et al. 2019): two
            thin layers with a ReLU between, behind every attention and feed-forward.
        rank: Inner size of `lora` and `bottleneck`.
        scale: The alpha of `lora`, as a multiple of the rank: its product counts so many times.
        dropout: Dropout of what enters `lora` and `bottleneck`.
        where: The blocks that have them: of the `decoder`, or of the encoders too, `everything`.
    """

    method: AdapterMethod = "none"
    rank: int = 16
    scale: int = 2
    dropout: float = 0.0
    where: Literal["decoder", "everything"] = "decoder"

    @property
    def used(self) -> tuple[str, ...]:
        """The fields that the method has a use for."""
        match self.method:
            case "none":
                return ()
            case "lora":
                return ("method", "where", "rank", "scale", "dropout")
            case "bottleneck":
                return ("method", "where", "rank", "dropout")
            case "ia3" | "layer_norms":
                return ("method", "where")

    def validate(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what it must be) for every impossible value."""
        for name in ("rank", "scale"):
            if getattr(self, name) < 1:
                yield name, f"must be at least 1, but is {getattr(self, name)}"
        if not 0 <= self.dropout < 1:
            yield "dropout", "must be at least 0 and below 1"
