"""The parts of a model as ONNX has them: an encoder for each kind of source, one decoder step.

The modules are the model's own; what depends on sizes in Python is put in other words: a table of
positions that grows, a limit that is checked, weights that are transposed when they are used.

Shape legend: B batch, S source positions, F feature bins, T pieces so far, W hypotheses an example,
D d_model, H heads, E size of a head, V vocabulary, O size of a task embedding.
"""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from taskaware.model.attention import KeyValues, LearntPositions, Past, PositionSignal
from taskaware.model.states import DecodingState

if TYPE_CHECKING:
    from taskaware.model.attention import Positions
    from taskaware.model.transformer import TaskAwareTransformer
    from taskaware.types import Modality

_NEVER = -1e30  # as in the beam search


def exportable(transformer: TaskAwareTransformer) -> TaskAwareTransformer:
    """Return a copy, on the CPU and in float32, with parts that any length can go through."""
    made = copy.deepcopy(transformer).cpu().float().eval().requires_grad_(False)
    made.task_network = None
    made.source_positions = cast("Positions", _positions(made.source_positions))
    made.target_positions = cast("Positions", _positions(made.target_positions))
    if made.text_encoder is not None:
        made.text_encoder.positions = cast("Positions", _positions(made.text_encoder.positions))
    for name, module in list(made.named_modules()):
        if isinstance(module, nn.Linear):
            made.set_submodule(name, TransposedLinear(module))
    return made


class TransposedLinear(nn.Module):
    """A linear layer whose weights lie as a matrix product reads them, so that they can be int8."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.weight = nn.Parameter(linear.weight.detach().T.contiguous(), requires_grad=False)
        self.bias = linear.bias

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x W + b``."""
        product = torch.matmul(x, self.weight)
        return product if self.bias is None else product + self.bias


class ComputedSignal(nn.Module):
    """``PositionSignal`` without a table: sines and cosines of any position."""

    rate: Tensor

    def __init__(self, positions: PositionSignal) -> None:
        super().__init__()
        self._offset = positions.offset
        half = positions.d_model // 2
        if positions.wavelengths == "vaswani":
            exponent = torch.arange(half, dtype=torch.float64) * 2 / positions.d_model
            rate = 10_000.0**-exponent
        else:
            rate = torch.exp(torch.arange(half) * (-math.log(10_000.0) / max(half - 1, 1)))
        self._odd = positions.d_model % 2
        self.register_buffer("rate", rate.float(), persistent=False)

    def forward(self, x_BSD: Tensor, *, first: int | Tensor = 0) -> Tensor:
        """Return ``x [B, S, D]`` plus the signal of positions ``first .. first + S``."""
        places_S = torch.arange(x_BSD.shape[1], device=x_BSD.device) + first + self._offset
        angle = places_S.to(x_BSD.dtype)[:, None] * self.rate[None, :]
        signal = torch.cat([angle.sin(), angle.cos()], dim=1)
        return x_BSD + (F.pad(signal, (0, 1)) if self._odd else signal)


class GatheredPositions(nn.Module):
    """``LearntPositions`` without its check, which the decoding script makes."""

    def __init__(self, positions: LearntPositions) -> None:
        super().__init__()
        self.weight = positions.weight

    def forward(self, x_BSD: Tensor, *, first: int | Tensor = 0) -> Tensor:
        """Return ``x [B, S, D]`` plus the vectors of positions ``first .. first + S``."""
        places_S = torch.arange(x_BSD.shape[1], device=x_BSD.device) + first
        return x_BSD + F.embedding(places_S, self.weight)


def _positions(positions: nn.Module) -> nn.Module:
    match positions:
        case PositionSignal():
            return ComputedSignal(positions)
        case LearntPositions():
            return GatheredPositions(positions)
        case other:
            raise TypeError(f"unknown positions: {type(other).__name__}")


class EncoderGraph(nn.Module):
    """Source, lengths and t_e to what the decoder looks at: keys and values of every block.

    Where t_e is a vector before the target (``acts_by`` prepend), the past after it comes out too.
    """

    def __init__(self, transformer: TaskAwareTransformer, modality: Modality) -> None:
        super().__init__()
        self.transformer = transformer
        self.modality: Modality = modality

    def forward(
        self, source: Tensor, lengths: Tensor, task_embedding: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """Return the valid positions ``[B, S]``, keys and values ``[B, H, S, E]`` by block."""
        state = self.transformer.start_decoding(source, lengths, self.modality, task_embedding)
        outputs = [state.memory_mask_BS]
        for memory in state.memory:
            outputs += [memory.keys, memory.values]
        if state.position:
            for past in state.past:
                kept = past.entries(state.position)
                outputs += [kept.keys, kept.values]
        return tuple(outputs)


class StepGraph(nn.Module):
    """The newest pieces, the past and what the encoder gave, to probabilities and a longer past.

    Args:
        transformer: From ``exportable``.
        never: Pieces that no output has, whose share goes to the others.
        is_transposed: Whether the output layer is a transposed copy of its own (int8 needs it).
    """

    def __init__(
        self, transformer: TaskAwareTransformer, never: tuple[int, ...], *, is_transposed: bool
    ) -> None:
        super().__init__()
        self.transformer = transformer
        embedding = transformer.token_embedding
        weight = embedding.output_layer_weight
        mask = torch.zeros(weight.shape[0])
        mask[list(never)] = _NEVER
        self.register_buffer("mask_V", mask if never else None, persistent=False)
        output = nn.Linear(weight.shape[1], weight.shape[0], bias=embedding.output_bias is not None)
        output.weight = weight
        if embedding.output_bias is not None:
            output.bias = embedding.output_bias
        self.output = TransposedLinear(output) if is_transposed else output

    def forward(
        self,
        pieces: Tensor,
        memory_mask: Tensor,
        memory: list[Tensor],
        past: list[Tensor],
        task_embedding: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        """Return log-probabilities ``[B, W, V]``, then keys and values ``[B * W, H, T + 1, E]``."""
        transformer = self.transformer
        modulation, _ = transformer._modulation(task_embedding)
        kept = [JoinedPast(one, pieces.shape[1]) for one in _pairs(past)]
        state = SeparateState(
            memory=_pairs(memory),
            memory_mask_BS=memory_mask,
            memory_BSD=memory[0],  # not looked at in a step
            past=[*kept],
            slots_BWT=_own_slots(pieces, past[0].shape[2]),
            num_slots=pieces.shape[1],
            modulation=modulation,
        )
        states_BWD = transformer.advance(pieces, state)
        logits_BWV = self.output(states_BWD)
        if self.mask_V is not None:
            logits_BWV = logits_BWV + self.mask_V
        outputs = [logits_BWV.log_softmax(dim=-1)]
        for one in kept:
            outputs += [one.joined.keys, one.joined.values]
        return tuple(outputs)


class JoinedPast(Past):
    """A past that grows by joining, ``[B * W, H, T, E]``: its hypotheses are reordered outside.

    Args:
        kept: The past so far.
        width: W.
    """

    def __init__(self, kept: KeyValues, width: int) -> None:
        self.joined = kept
        self._width = width

    def write(self, key_BHWE: Tensor, value_BHWE: Tensor, position: int) -> None:
        """Join the newest position of every hypothesis to its past."""
        del position
        newest = [x.transpose(1, 2).flatten(0, 1)[:, :, None] for x in (key_BHWE, value_BHWE)]
        self.joined = KeyValues(
            torch.cat([self.joined.keys, newest[0]], dim=2),
            torch.cat([self.joined.values, newest[1]], dim=2),
        )

    def entries(self, num_positions: int) -> KeyValues:
        """Return all, ``[B, H, T * W, E]``, position by position."""
        del num_positions
        return KeyValues(self._by_position(self.joined.keys), self._by_position(self.joined.values))

    def _by_position(self, x: Tensor) -> Tensor:
        H, T, E = x.shape[1:]
        return x.view(-1, self._width, H, T, E).permute(0, 2, 3, 1, 4).flatten(2, 3)


class SeparateState(DecodingState):
    """A state whose hypotheses each have a past of their own, whatever W is."""

    def begin_position(self, width: int) -> Tensor | None:
        """Return that a hypothesis comes from its own entries alone."""
        self.slots_BWT = torch.cat([self.slots_BWT, self.slots_BWT.new_zeros(1, width, 1)], dim=2)
        every_W = torch.arange(width, device=self.slots_BWT.device)
        own_WW = every_W[:, None] == every_W
        return own_WW[:, None].expand(-1, self.position, -1).flatten(1)[None]


def _own_slots(pieces_BW: Tensor, num_positions: int) -> Tensor:
    """Return what tells the number of positions; which slots these are, the state knows."""
    return pieces_BW.new_zeros(1, pieces_BW.shape[1], num_positions)


def _pairs(tensors: list[Tensor]) -> list[KeyValues]:
    return [KeyValues(*pair) for pair in zip(tensors[::2], tensors[1::2], strict=True)]
