"""Task characteristics networks: from a task, or examples of it, to its t_e (section 2.2.1).

Both end in a layer whose weights are tiny and whose bias is the identity of FiLM (gamma 1, beta 0),
so that an untrained task network leaves the model as it is.

Shape legend: B batch, S source positions, T target positions, D d_model, K d_task, O size of t_e.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from taskaware.model.attention import PositionSignal, attend
from taskaware.model.layers import EncoderLayer
from taskaware.model.packing import valid_mask

if TYPE_CHECKING:
    from collections.abc import Mapping

_TINY = 1e-3
_EPS = 1e-6  # of all norms
TASK_NETWORK = "task_network."  # what the names of its weights begin with
EXPLICIT_ROWS = "task_network.rows"
COMMON_EMBEDDING = "task_network.output.bias"  # of the implicit network: what all t_e share
_VECTORS, _VECTOR_TASKS = "task_vectors.rows", "task_vectors.task_indices"


def identity_bias(d_model: int, num_places: int) -> Tensor:
    """Return t_e ``[num_places * 2 D]`` that modulates nothing: gamma 1, beta 0 at every place."""
    pair = torch.cat([torch.ones(d_model), torch.zeros(d_model)])
    return pair.repeat(num_places)


class ExplicitTaskNetwork(nn.Module):
    """Equation 1: ``t_e = FFN(e)`` for a one-hot task e, one linear layer of s rows."""

    def __init__(self, num_tasks: int, initial_embedding: Tensor) -> None:
        super().__init__()
        self.rows = nn.Parameter(torch.empty(num_tasks, initial_embedding.numel()))
        nn.init.normal_(self.rows, std=_TINY)
        self.bias = nn.Parameter(initial_embedding.clone())

    def forward(self, task_index_B: Tensor) -> Tensor:
        """Return t_e ``[B, O]`` for int64 task indices (the product with a one-hot is a row)."""
        return self.rows[task_index_B] + self.bias


class ImplicitTaskNetwork(nn.Module):
    """Equations 2 to 5: the task from pairs of source and target alone.

    On a CPU equations 2 to 4 are computed in the type of the weights, also under autocast: in
    bfloat16 each product is compiled for its shape, and would be so many that they are not kept.

    Args:
        d_model: Size of the preprocessed source and of the embedded target.
        d_task: Size inside the network.
        d_task_ff: Inner size of its feed-forward layers.
        num_heads: Attention heads of its two blocks.
        dropout: Residual dropout of its two blocks.
        initial_embedding: t_e at the start, ``[O]``.
        normalises: Whether each position of what is read gets mean 0 and variance 1 first (ours).
            The paper's embeddings are as large as the position signal. Those of a Whisper are a
            twenty-sixth of it, mostly one vector that all pieces share: it would read positions.
    """

    def __init__(
        self,
        d_model: int,
        *,
        d_task: int,
        d_task_ff: int,
        num_heads: int,
        dropout: float,
        initial_embedding: Tensor,
        normalises: bool = False,
    ) -> None:
        super().__init__()
        self.normalises = normalises
        self.projection = nn.Linear(d_model, d_task)
        self.positions = PositionSignal(d_task)
        self.representation = _causal_block(d_task, num_heads, d_task_ff, dropout)
        self.summary = _causal_block(d_task, num_heads, d_task_ff, dropout)
        self.norm = nn.LayerNorm(2 * d_task, eps=_EPS)
        self.hidden = nn.Linear(2 * d_task, d_task)
        self.output = nn.Linear(d_task, initial_embedding.numel())
        nn.init.normal_(self.output.weight, std=_TINY)
        with torch.no_grad():
            self.output.bias.copy_(initial_embedding)

    def forward(
        self, source_BSD: Tensor, source_lengths: Tensor, target_BTD: Tensor, target_lengths: Tensor
    ) -> Tensor:
        """Return t_e ``[B, O]`` of each pair of source and target.

        Args:
            source_BSD: What the preprocessing layer gives the encoder.
            source_lengths: int64 ``[B]``.
            target_BTD: The embedded target.
            target_lengths: int64 ``[B]``.
        """
        with torch.autocast("cpu", enabled=False):
            source_BSK = self._represent(source_BSD)
            target_BTK = self._represent(target_BTD)
            target_aware = bidirectional_attention(source_BSK, target_BTK, target_lengths)
            source_aware = bidirectional_attention(target_BTK, source_BSK, source_lengths)
            source_BK = self._summarise(target_aware, source_lengths)
            target_BK = self._summarise(source_aware, target_lengths)
            pair = self.norm(torch.cat([source_BK, target_BK], dim=-1))
        return self.output(torch.relu(self.hidden(pair)))  # equation 5

    def _represent(self, x_BSD: Tensor) -> Tensor:
        """Equation 2: the same causal block for sources and targets."""
        x_BSD = x_BSD.to(self.projection.weight.dtype)
        if self.normalises:
            x_BSD = nn.functional.layer_norm(x_BSD, x_BSD.shape[-1:], eps=_EPS)
        x_BSK = self.positions(self.projection(x_BSD))
        return self.representation(x_BSK, mask_BS=None, causal=True)

    def _summarise(self, x_BSK: Tensor, lengths: Tensor) -> Tensor:
        """Equation 4: a second causal block, whose last valid position has seen the whole."""
        return self.summary.last(x_BSK, lengths)


def bidirectional_attention(x_BSK: Tensor, other_BTK: Tensor, other_lengths: Tensor) -> Tensor:
    """Equation 3: ``BiA(X, Y)``, scaled dot-product attention of X over Y without parameters.

    Returns:
        ``[B, S, K]``: for every position of X, a mean of the valid positions of Y.
    """
    mask_BT = valid_mask(other_lengths, other_BTK.shape[1])
    other_B1TK = other_BTK[:, None]  # one head
    mask_B11T = mask_BT[:, None, None, :]
    return attend(x_BSK[:, None], other_B1TK, other_B1TK, mask=mask_B11T)[:, 0]


class TaskVectors(nn.Module):
    """The t_e of some tasks as vectors that are learnt themselves, whatever the cue computes.

    As prompt tuning does with the input of a frozen model (Lester et al. 2021), they change nothing
    but what their own tasks do. They are there while they are trained: a finished model keeps them
    among its task embeddings.

    Args:
        initial: t_e of each task at the start, ``[1, O]``, by the task's index in the model.
    """

    task_indices: Tensor

    def __init__(self, initial: Mapping[int, Tensor]) -> None:
        super().__init__()
        self.rows = nn.Parameter(torch.cat(list(initial.values())).clone())
        # Among the weights, so that a checkpoint says itself whose vectors it has.
        self.register_buffer("task_indices", torch.tensor(list(initial)))

    def has_all(self, task_index_B: Tensor) -> bool:
        """Return whether all these tasks, int64 ``[B]``, have a vector."""
        return bool(torch.isin(task_index_B, self.task_indices).all())

    def forward(self, task_index_B: Tensor) -> Tensor:
        """Return t_e ``[B, O]`` of tasks, int64 ``[B]``."""
        is_own_BN = task_index_B[:, None] == self.task_indices[None, :]
        return self.rows[is_own_BN.int().argmax(dim=1)]


def without_vectors(
    tensors: Mapping[str, Tensor],
) -> tuple[dict[str, Tensor], dict[int, Tensor]]:
    """Return a model's weights without its ``TaskVectors``, and these by the task's index.

    An explicit network's rows of those tasks become such that it computes the vectors, but for
    rounding.
    """
    rest = {k: v for k, v in tensors.items() if k not in (_VECTORS, _VECTOR_TASKS)}
    if _VECTORS not in tensors:
        return rest, {}
    indices = [int(index) for index in tensors[_VECTOR_TASKS]]
    if EXPLICIT_ROWS in rest:
        rows = rest[EXPLICIT_ROWS].clone()
        rows[indices] = tensors[_VECTORS] - rest["task_network.bias"]
        rest[EXPLICIT_ROWS] = rows
    vectors = tensors[_VECTORS].detach()
    return rest, {index: row[None].clone() for index, row in zip(indices, vectors, strict=True)}


def _causal_block(d_task: int, num_heads: int, d_task_ff: int, dropout: float) -> EncoderLayer:
    return EncoderLayer(
        d_task,
        num_heads,
        d_task_ff,
        dropout=dropout,
        attention_dropout=0.0,
        relu_dropout=0.0,
        norm="pre",
        eps=_EPS,
    )
