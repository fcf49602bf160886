"""Several processes that train one model: each its own batches, the gradients averaged.

Started by ``torchrun``; alone without it.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from torch import Tensor, nn

from taskaware.errors import LostProcessError, TrainingError, UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

# The first process validates and scores while the others wait; one that dies ends all of them.
_PATIENCE = timedelta(hours=12)

# What torch says where it has no exception of its own: "[.../gloo/transport/tcp/pair.cc:547]
# Connection closed by peer".
_LOST = ("gloo", "nccl", "connection")


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
        """Replace every gradient by its mean over the processes, in one exchange.

        What has none in any process keeps none, so that the optimiser leaves it alone.
        """
        if self.num_ranks == 1:
            return
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        gradients = [
            torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            for parameter in parameters
        ]
        has_one = torch.tensor([float(p.grad is not None) for p in parameters], device=self.device)
        flat = torch.cat([*(gradient.reshape(-1) for gradient in gradients), has_one])
        with self.exchange():
            dist.all_reduce(flat)
            flat /= self.num_ranks
            *pieces, shares = flat.split([*(g.numel() for g in gradients), len(gradients)])
            for parameter, piece, share in zip(parameters, pieces, shares.tolist(), strict=True):
                parameter.grad = piece.view_as(parameter) if share else None

    def any(self, flag: bool) -> bool:
        """Return whether the flag is set in any process."""
        if self.num_ranks == 1:
            return flag
        total = torch.tensor(float(flag), device=self.device)
        with self.exchange():
            dist.all_reduce(total, op=dist.ReduceOp.MAX)
            return bool(total.item())

    def broadcast(self, value: Tensor) -> Tensor:
        """Return the first process's value in every process."""
        if self.num_ranks > 1:
            value = value.to(self.device)
            with self.exchange():
                dist.broadcast(value, src=0)
        return value

    def wait(self) -> None:
        """Wait until every process is here."""
        if self.num_ranks > 1:
            with self.exchange():
                dist.barrier()

    @contextmanager
    def together(self) -> Iterator[None]:
        """Do something in every process, and continue once all have done it.

        What fails in one process fails in all, instead of leaving the others waiting.

        Raises:
            TrainingError: It failed in another process, which says why.
        """
        error: Exception | None = None
        try:
            yield
        except Exception as caught:
            error = caught
        if isinstance(error, LostProcessError):
            raise error
        if self.any(error is not None):
            raise error or TrainingError("another of the processes that train together has failed")

    @contextmanager
    def exchange(self) -> Iterator[None]:
        """Send and receive inside.

        Raises:
            LostProcessError: The connection between the processes is lost.
        """
        try:
            yield
        except RuntimeError as error:
            if not _is_lost_connection(error):
                raise
            raise LostProcessError(
                f"all {self.num_ranks} processes that train together must go on, but the "
                f"connection between them is lost: {str(error).splitlines()[0]}. The same command "
                "resumes from the newest checkpoint"
            ) from error


def _is_lost_connection(error: RuntimeError) -> bool:
    """Whether another process is gone: torch has types for some of what it says then."""
    is_named = isinstance(error, dist.DistError)
    return is_named or any(word in str(error).lower() for word in _LOST)


@dataclass(frozen=True, kw_only=True)
class Seat:
    """Which process this is to be, before it has joined the others.

    Attributes:
        rank: Counted from 0.
        num_ranks: Processes that train together.
        meeting_place: Where they meet: ``"env://"`` under ``torchrun``, or ``"file://PATH"``.
    """

    rank: int = 0
    num_ranks: int = 1
    meeting_place: str = "env://"

    @classmethod
    def from_environment(cls) -> Seat:
        """The seat that ``torchrun`` gives, or a process alone."""
        rank, num_ranks = os.environ.get("RANK", "0"), os.environ.get("WORLD_SIZE", "1")
        return cls(rank=int(rank), num_ranks=int(num_ranks))


@contextmanager
def join(device_name: str, seat: Seat) -> Iterator[Processes]:
    """Join the other processes, or be alone.

    Args:
        device_name: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        seat: Which process this is.

    Raises:
        UserError: There is no such device, or none for each process.
        LostProcessError: Another process is not there.
    """
    num_devices = torch.cuda.device_count() if torch.cuda.is_available() else 0
    on_cuda = num_devices > 0 if device_name == "auto" else device_name == "cuda"
    local_rank = int(os.environ.get("LOCAL_RANK", str(seat.rank)))
    if on_cuda and not num_devices:
        raise UserError(
            "`training.device` must be 'auto' or 'cpu' here, but is 'cuda': torch finds no CUDA "
            "device on this machine"
        )
    if on_cuda and local_rank >= num_devices:
        raise UserError(
            f"there must be a CUDA device for each process, but there are {num_devices} and this "
            f"is process {local_rank + 1}; start at most {num_devices}, or set training.device=cpu"
        )
    device = torch.device("cuda", local_rank) if on_cuda else torch.device("cpu")
    if on_cuda:
        torch.cuda.set_device(device)
    processes = Processes(rank=seat.rank, num_ranks=seat.num_ranks, device=device)
    if seat.num_ranks > 1:
        with processes.exchange():
            dist.init_process_group(
                "nccl" if on_cuda else "gloo",
                init_method=seat.meeting_place,
                rank=seat.rank,
                world_size=seat.num_ranks,
                timeout=_PATIENCE,
            )
    try:
        yield processes
    finally:
        if seat.num_ranks > 1:
            dist.destroy_process_group()
