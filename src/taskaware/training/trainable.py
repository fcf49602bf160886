"""What of a model is trained, and what is frozen: without gradients and optimiser memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from taskaware.model.adapters import set_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from taskaware.model.transformer import TaskAwareTransformer
    from taskaware.training.settings import Trains

_TASK_NETWORK = ("task_network.",)
_VECTORS = ("task_vectors.",)
# The embedding is the decoder's first layer and, where it is tied, its last.
_DECODER = ("decoder.", "decoder_norm.", "target_positions.", "token_embedding.", *_TASK_NETWORK)


def freeze_all_but(
    model: TaskAwareTransformer, trains: Trains, *, tasks: Collection[str] = ()
) -> None:
    """Let gradients reach what is trained alone (``run.settings.StartSettings`` says what it is).

    Task vectors, where the model has some, are always trained.

    Args:
        model: The model.
        trains: What is trained.
        tasks: The names of the tasks that are trained, whose sets of adapter weights are.
    """
    match trains:
        case "everything":
            return
        case "decoder":
            trained = _DECODER
        case "task_network_and_norms":
            trained = (*_TASK_NETWORK, *_norms(model))
        case "task_network":
            trained = _TASK_NETWORK
        case "task_embedding":
            trained = ()
        case "adapters":
            for name, parameter in model.named_parameters():
                parameter.requires_grad_(set_of(name) in tasks)
            return
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith((*trained, *_VECTORS)))


def _norms(model: nn.Module) -> Iterator[str]:
    for name, module in model.named_modules():
        if isinstance(module, nn.LayerNorm):
            yield f"{name}."
