"""The loss of an update in one of several processes: gradients exchanged while they are computed.

Torch's DistributedDataParallel (Li et al. 2020, "PyTorch distributed: experiences on accelerating
data parallel training", VLDB 13(12)) puts the gradients into buckets and sends each one off as soon
as the way back has filled it, while the rest is still being computed.
"""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from taskaware.model.transformer import TaskAwareTransformer
    from taskaware.training.joint import TaskLoss
    from taskaware.training.processes import Processes

# The parts of a model in the order in which they are used, up to the decoder.
_FORWARD = (
    *("token_embedding", "frontends", "source_positions", "target_positions"),
    *("task_network", "task_vectors", "source_film", "target_film"),
    *("encoder", "encoder_norm", "bridge", "text_encoder"),
)
BUCKET_MIB = 25  # torch's default: large enough for a fast network, small enough to begin early


class SharedLoss:
    """A loss whose gradient all processes have, averaged, once the last pass has gone back.

    Alone, and before ``connect``, it is the loss and no more.

    Args:
        loss: A module that holds the model and returns a ``TaskLoss``.
        model: The network, for the order in which its gradients are finished.
        processes: Those that train together.
        is_split: Whether the loss is one of ``Shards``, which exchanges in every pass by itself.
    """

    def __init__(
        self,
        loss: nn.Module,
        model: TaskAwareTransformer,
        processes: Processes,
        *,
        is_split: bool = False,
    ) -> None:
        self._loss = loss
        self._model = model
        self._processes = processes
        self._is_split = is_split
        self._parallel: DistributedDataParallel | None = None

    def connect(self) -> None:
        """Exchange gradients from now on; every process must call it, before its first pass.

        Raises:
            LostProcessError: The connection between the processes is lost.
        """
        if self._processes.num_ranks == 1 or self._is_split or self._parallel is not None:
            return
        with self._processes.exchange(), warnings.catch_warnings():
            # The newest torch has another name for `broadcast_buffers`, which the oldest lacks.
            warnings.simplefilter("ignore", FutureWarning)
            self._parallel = DistributedDataParallel(
                _InOrder(self._loss, self._model),
                bucket_cap_mb=BUCKET_MIB,
                # A batch of text leaves the speech front end without a gradient. What has none in
                # any process keeps none. And buckets stay as they are from the first update on, so
                # that a resumed run adds in the same order.
                find_unused_parameters=True,
                broadcast_buffers=False,  # tables of positions, as long as each process needs
                gradient_as_bucket_view=True,  # gradients are held once
            )

    def __call__(self, *arguments: Any) -> TaskLoss:
        """Return the loss."""
        return self._loss(*arguments) if self._parallel is None else self._parallel(*arguments)

    @contextmanager
    def passing(self, *, is_last: bool) -> Iterator[None]:
        """Call the loss and go back, both inside; only the last pass of an update exchanges.

        Of a model that is split, every pass does: a process has no room for the whole gradient.

        Raises:
            LostProcessError: The connection between the processes is lost.
        """
        if self._is_split:
            with self._processes.exchange():
                yield
        elif self._parallel is None:
            yield
        elif is_last:
            with self._processes.exchange(), warnings.catch_warnings():
                # Of convolutions over one channel, whose stride means nothing.
                warnings.filterwarnings("ignore", "Grad strides do not match", UserWarning)
                yield
        else:
            with self._parallel.no_sync():
                yield


class _InOrder(nn.Module):
    """A loss whose parameters stand in the order of the way forward.

    Buckets are filled from the last parameter to the first, and sent off in that order. What is
    used first has its gradient last: the word pieces, which are both input and output layer, the
    front ends, and the task network, which modulates every layer. Where they stood last, as the
    task network does in the model, every bucket would wait for theirs.
    """

    def __init__(self, loss: nn.Module, model: TaskAwareTransformer) -> None:
        super().__init__()
        parts = [getattr(model, name) for name in _FORWARD]
        self.parts = nn.ModuleList(part for part in parts if part is not None)
        self.loss = loss  # with all the rest: the decoder and its norm
        # Torch warns a user whose update leaves no parameter unused, as speech alone may.
        self.never_used = nn.Parameter(torch.zeros((), device=next(model.parameters()).device))

    def forward(self, *arguments: Any) -> TaskLoss:
        """Return the loss."""
        return self.loss(*arguments)
