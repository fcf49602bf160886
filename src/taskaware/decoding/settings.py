"""How a model is decoded. Imports no torch, so that the command line starts fast."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from taskaware.errors import UserError
from taskaware.settings import typed

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, kw_only=True)
class DecodingSettings:
    """How to search.

    Attributes:
        beam: Hypotheses kept at each step, at most 1,000; 1 is greedy search.
        length_penalty: Exponent of the length penalty ((5 + length) / 6)^alpha; 0: none.
        extra_pieces: A hypothesis has at most this many pieces more than the source has positions,
            at most 10,000.
        num_best: Hypotheses returned for each source, at most `beam`.
        examples_per_batch: Sources decoded together.
        max_pieces: The longest hypothesis, its end counted, however long the source is; `none`: as
            `extra_pieces` says.
        stopping: When the search for a source ends. `bound`: when `beam` hypotheses are finished,
            or no open one can get among the `num_best`. `full` and `heuristic` do what `generate`
            of Hugging Face's library does with `early_stopping` true and false, for models whose
            settings were chosen with it: the first ends when `beam` are finished, the second when
            no open one, at its present length, is better than the worst of them; the length penalty
            is length^alpha, and at the limit of length the open ones count as well.
        counted_prompt: Pieces of the prompt that count in the length penalty (1 in M2M100, whose
            language is a forced piece).
        end_at_limit: Whether a hypothesis at its limit ends there, at no cost (Marian).
        suppressed: Ids of pieces that no hypothesis has, such as Whisper's signs of music.
        suppressed_first: Ids of pieces that none begins with.
        no_repeat: No hypothesis has the same pieces in a row, this many, twice: what keeps a
            decoder from repeating itself to the limit; 0: it may.
        ctc_weight: What CTC says of a hypothesis counts this much, the decoder the rest (0.3 is
            usual: Watanabe et al. 2017), in recognition by a model that was trained with
            `objective.ctc_weight`; 0: the decoder alone.
    """

    beam: int = 4
    length_penalty: float = 0.6
    extra_pieces: int = 50
    num_best: int = 1
    examples_per_batch: int = 32
    max_pieces: int | None = None
    stopping: Literal["bound", "full", "heuristic"] = "bound"
    counted_prompt: int = 0
    end_at_limit: bool = False
    suppressed: tuple[int, ...] = ()
    suppressed_first: tuple[int, ...] = ()
    no_repeat: int = 0
    ctc_weight: float = 0.0

    def require_known_pieces(self, num_pieces: int) -> None:
        """Require that the pieces that are named are there.

        Raises:
            UserError: One has an id that no piece of the vocabulary has.
        """
        largest = max((*self.suppressed, *self.suppressed_first), default=0)
        if largest >= num_pieces:
            raise UserError(
                f"decoding.suppressed and suppressed_first must be ids of its {num_pieces:,} "
                f"pieces, from 0 up, but have {largest}"
            )

    def validate(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what it must be) for every impossible value."""
        if self.max_pieces is not None and self.max_pieces < 1:
            yield "max_pieces", f"must be at least 1, but is {self.max_pieces}"
        for name in ("counted_prompt", "no_repeat"):
            if getattr(self, name) < 0:
                yield name, f"must not be negative, but is {getattr(self, name)}"
        for name in ("suppressed", "suppressed_first"):
            if any(piece < 0 for piece in getattr(self, name)):
                yield name, "must be ids of pieces, from 0 up"
        for name in ("beam", "extra_pieces", "num_best", "examples_per_batch"):
            if getattr(self, name) < 1:
                yield name, f"must be at least 1, but is {getattr(self, name)}"
        if not 0 <= self.ctc_weight < 1:
            yield "ctc_weight", f"must be at least 0 and below 1, but is {self.ctc_weight}"
        if self.beam > _WIDEST_BEAM:
            yield "beam", f"must be at most {_WIDEST_BEAM}, but is {self.beam}"
        if self.extra_pieces > _MOST_EXTRA:
            yield "extra_pieces", f"must be at most {_MOST_EXTRA:,}, but is {self.extra_pieces}"
        if self.num_best > max(self.beam, 1):
            yield "num_best", f"must be at most `beam` ({self.beam}), but is {self.num_best}"
        if not 0 <= self.length_penalty <= _GREATEST_LENGTH_PENALTY:
            yield (
                "length_penalty",
                f"must be from 0 to {_GREATEST_LENGTH_PENALTY}, but is {self.length_penalty}",
            )


# In use are 0 to 2; of a large one the power of a length is no float any more.
_GREATEST_LENGTH_PENALTY = 20
_MOST_EXTRA = 10_000  # a decoder that does not end writes so many, and each looks at all before it
_WIDEST_BEAM = 1000  # a wider one finds nothing more, and fills the memory


def with_beam(
    decoding: DecodingSettings, beam: int | None = None, num_best: int = 1
) -> DecodingSettings:
    """Return the settings with another beam.

    Args:
        decoding: The settings.
        beam: The beam; ``None``: as it is, or as wide as the number of hypotheses needs.
        num_best: Hypotheses wanted for each source.

    Raises:
        UserError: A number is impossible, or the beam is narrower than ``num_best``.
    """
    if beam is None:
        is_wider = isinstance(num_best, int) and num_best > decoding.beam
        beam = num_best if is_wider else decoding.beam
    changed = replace(decoding, beam=beam, num_best=num_best)
    typed.require_valid(changed, where="decoding")
    return changed
