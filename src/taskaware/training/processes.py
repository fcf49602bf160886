"""Several processes that train one model: each its own batches, the gradients averaged.

Started by ``torchrun``; alone without it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class Processes:
    """Which process this is.

    Attributes:
        rank: Counted from 0; rank 0 alone validates, writes and reports.
        num_ranks: Processes that train together.
        device: Where this one computes.
    """

    rank: int
    num_ranks: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        """Whether this process validates, writes and reports."""
        return self.rank == 0

    def average_gradients(self, model: nn.Module) -> None:
        """Replace every gradient by its mean over the processes, in one exchange."""
        if self.num_ranks == 1:
            return
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        gradients = [
            torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            for parameter in parameters
        ]
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        dist.all_reduce(flat)
        flat /= self.num_ranks
        pieces = flat.split([gradient.numel() for gradient in gradients])
        for parameter, piece in zip(parameters, pieces, strict=True):
            parameter.grad = piece.view_as(parameter)

    def any(self, flag: bool) -> bool:
        """Return whether the flag is set in any process."""
        if self.num_ranks == 1:
            return flag
        total = torch.tensor(float(flag), device=self.device)
        dist.all_reduce(total, op=dist.ReduceOp.MAX)
        return bool(total.item())

    def broadcast(self, value: Tensor) -> Tensor:
        """Return the first process's value in every process."""
        if self.num_ranks > 1:
            value = value.to(self.device)
            dist.broadcast(value, src=0)
        return value

    def wait(self) -> None:
        """Wait until every process is here."""
        if self.num_ranks > 1:
            dist.barrier()


@contextmanager
def join(device_name: str) -> Iterator[Processes]:
    """Join the processes that ``torchrun`` started, or be alone.

    Args:
        device_name: ``"auto"``, ``"cpu"`` or ``"cuda"``.
    """
    on_cuda = torch.cuda.is_available() if device_name == "auto" else device_name == "cuda"
    rank = int(os.environ.get("RANK", "0"))
    num_ranks = int(os.environ.get("WORLD_SIZE", "1"))
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    device = torch.device("cuda", local_rank) if on_cuda else torch.device("cpu")
    if on_cuda:
        torch.cuda.set_device(device)
    if num_ranks > 1:
        dist.init_process_group("nccl" if on_cuda else "gloo")
    try:
        yield Processes(rank=rank, num_ranks=num_ranks, device=device)
    finally:
        if num_ranks > 1:
            dist.destroy_process_group()
