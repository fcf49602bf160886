"""A model whose weights, gradients and optimiser state are split over the processes.

Torch's FSDP2 (``torch.distributed.fsdp.fully_shard``; Zhao et al. 2023, "PyTorch FSDP:
experiences on scaling fully sharded data parallel", VLDB 16(12)): a process keeps its share of
every weight, and has a block whole only while it computes with it. Such a weight is a ``DTensor``.
"""

from __future__ import annotations

import copy
from contextlib import contextmanager
from typing import TYPE_CHECKING

from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from taskaware.training.meta import BatchLoss
from taskaware.training.tensors import fill_weights

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import Tensor

    from taskaware.model.transformer import TaskAwareTransformer
    from taskaware.training.processes import Processes


class Shards:
    """A model that is split over the processes.

    Each block is gathered by itself, before it computes and again on the way back; what is in no
    block (the embedding, front ends, task network, last norms) is whole for the length of a pass.

    Every process must make one, with the same weights, and call its methods at the same time.

    Args:
        model: Split in place. Its parameters are other objects afterwards: an optimiser must be
            made after it.
        processes: Those that train together.

    Attributes:
        model: The model that is split; it computes in ``loss`` alone.
        loss: What a pass calls.
        whole: A copy that is not split, to validate and to save. It has weights in the first
            process alone, as they were at the last ``refresh``, and takes room on the device only
            inside ``validating``.

    Raises:
        LostProcessError: The connection between the processes is lost (also of all methods).
    """

    def __init__(self, model: TaskAwareTransformer, processes: Processes) -> None:
        self._processes = processes
        model.to("cpu")  # block by block its shares go back to the device
        self.whole = copy.deepcopy(model)
        if not processes.is_first:
            self.whole.to("meta")
        self.model = model
        self.loss = BatchLoss(model)
        blocks = [*model.encoder, *model.decoder]
        if model.text_encoder is not None:
            blocks += model.text_encoder.blocks
        with processes.exchange():
            mesh = init_device_mesh(processes.device.type, (processes.num_ranks,))
            for part in (*blocks, self.loss):
                fully_shard(part, mesh=mesh)

    def gather(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return whole tensors on the CPU, in the first process; others get none.

        One at a time is gathered, so that no device must hold all of them.
        """
        found: dict[str, Tensor] = {}
        for name, tensor in tensors.items():
            value = self.whole_of(tensor.detach())
            if self._processes.is_first:
                found[name] = value.to("cpu", copy=True).contiguous()
        return found

    def whole_of(self, tensor: Tensor) -> Tensor:
        """Return one tensor whole, in every process."""
        with self._processes.exchange():
            return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor

    def refresh(self) -> None:
        """Give ``whole`` the weights as they are trained by now."""
        weights = self.gather(self.model.state_dict())
        if self._processes.is_first:
            self.whole.load_state_dict(weights)

    @contextmanager
    def validating(self) -> Iterator[None]:
        """Have the first process's ``whole`` on the device, with the weights of now."""
        self.refresh()
        if self._processes.is_first:
            self.whole.to(self._processes.device)
        yield
        if self._processes.is_first:
            self.whole.to("cpu")

    def fill(self, tensors: Mapping[str, Tensor], *, where: str) -> None:
        """Load whole weights, which must have exactly the model's names and shapes.

        Raises:
            CheckpointError: Names or shapes differ.
        """
        own = self.model.state_dict()
        shares = {
            name: self.share_like(value, own[name]) if name in own else value
            for name, value in tensors.items()
        }
        fill_weights(self.model, shares, where=where)

    @staticmethod
    def share_like(tensor: Tensor, example: Tensor) -> Tensor:
        """Return this process's share of a whole tensor, split as another of its shape is."""
        if not isinstance(example, DTensor) or tensor.shape != example.shape:
            return tensor
        mesh = example.device_mesh
        whole = tensor.to(mesh.device_type)
        return distribute_tensor(whole, mesh, example.placements, src_data_rank=None)

    @staticmethod
    def own_share(tensor: Tensor) -> Tensor:
        """Return what this process has of a tensor."""
        return tensor.to_local() if isinstance(tensor, DTensor) else tensor
