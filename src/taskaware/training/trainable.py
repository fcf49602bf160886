"""What of a model is trained, and what is frozen: without gradients and optimiser memory."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from torch import nn

from taskaware.model.adapters import set_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from taskaware.model.transformer import TaskAwareTransformer
    from taskaware.training.settings import Trains

_TASK_NETWORK = ("task_network.",)
BOTTLENECK = ".bottleneck."  # beside a part of a block: part of what makes the model task-aware
TEXT_ENCODER = "text_encoder."
_VECTORS = ("task_vectors.",)
# The embedding is the decoder's first layer and, where it is tied, its last.
_BRIDGE = ("bridge.", *_TASK_NETWORK)
_DECODER = ("decoder.", "decoder_norm.", "target_positions.", "token_embedding.", *_BRIDGE)
# With its norm (Li et al. 2021, arXiv:2010.12829: norms and attention are what must adapt).
_CROSS_ATTENTION = re.compile(r"decoder\.\d+\.(cross_attention|around_cross)\.")


def freeze_all_but(
    model: TaskAwareTransformer,
    trains: Trains,
    *,
    task_indices: Sequence[int],
    new_parts: Sequence[str] = (),
) -> None:
    """Let gradients reach what is trained alone (``run.settings.StartSettings`` says what it is).

    Task vectors, where the model has some, are always trained. The bottlenecks that t_e scales are
    trained with the task network where they are new, as no other task uses them yet, and where
    ``trains`` names them; so is an encoder of texts that is new. Of adapters, those of the tasks
    that are trained.

    Args:
        model: The model.
        trains: What is trained.
        task_indices: The places of the tasks that are trained.
        new_parts: ``BOTTLENECK`` and ``TEXT_ENCODER``, as far as the start has none.
    """
    match trains:
        case "everything":
            return
        case "decoder":
            trained = _DECODER
        case "bridge":
            trained = (*_BRIDGE, *_cross_attention(model))
        case "task_network_and_norms":
            trained = (*_TASK_NETWORK, *_norms(model))
        case "task_network_and_bottlenecks":
            trained = (*_TASK_NETWORK, *_bottlenecks(model))
        case "task_network":
            trained = _TASK_NETWORK
        case "adapters":
            trained = tuple(_adapters(model, task_indices))
        case "task_embedding":
            trained = ()
    for name, parameter in model.named_parameters():
        is_new = trains != "task_embedding" and any(part in name for part in new_parts)
        parameter.requires_grad_(is_new or name.startswith((*trained, *_VECTORS)))


def _adapters(model: nn.Module, task_indices: Sequence[int]) -> Iterator[str]:
    for name, _ in model.named_parameters():
        if set_of(name) in task_indices:
            yield name


def _cross_attention(model: nn.Module) -> Iterator[str]:
    for name, _ in model.named_parameters():
        if _CROSS_ATTENTION.match(name):
            yield name


def _bottlenecks(model: nn.Module) -> Iterator[str]:
    for name, _ in model.named_parameters():
        if BOTTLENECK in name:
            yield name


def _norms(model: nn.Module) -> Iterator[str]:
    for name, module in model.named_modules():
        if isinstance(module, nn.LayerNorm):
            yield f"{name}."
