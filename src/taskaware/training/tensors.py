"""Files of tensors (safetensors): written, read, compared with their checksums and with a model."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from taskaware.errors import CheckpointError, DamagedCheckpointError
from taskaware.files import file_sha256, require_regular, write_error

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from torch import Tensor, nn

# As the format calls them: https://huggingface.co/docs/safetensors, "Format".
_TYPES = {
    **{torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"},
    **{torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8"},
    **{torch.uint8: "U8", torch.bool: "BOOL"},
}
_ALIGNMENT = 8  # bytes


def check_file(path: Path, sums: Mapping[str, object]) -> None:
    """Compare a file with its checksum.

    Args:
        path: The file.
        sums: What ``state.json`` says: the SHA-256 of each file, by name.

    Raises:
        DamagedCheckpointError: It is missing or another, or there is no checksum of it.
    """
    try:
        require_regular(path)
        found = file_sha256(path)
    except OSError as error:
        raise DamagedCheckpointError(f"{path} must be readable, but: {error.strerror}") from error
    if path.name not in sums:
        raise DamagedCheckpointError(
            f"{path} must have its SHA-256 in state.json, but has none there: whether it is as it "
            "was written cannot be known"
        )
    if found != sums[path.name]:
        raise DamagedCheckpointError(f"{path} must be as it was written, but has changed since")


def weights(model: nn.Module) -> dict[str, Tensor]:
    """Return the model's weights on the CPU, as safetensors wants them."""
    return {
        name: value.detach().to("cpu", copy=True).contiguous()
        for name, value in model.state_dict().items()
    }


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write a safetensors file, in place.

    It may be seen half: see ``files`` for what keeps readers from that. The library's own
    ``save_file`` writes to a file of a random name beside it. That would stay where the process is
    killed, as large as all weights, and nothing would say whose it is.

    Raises:
        WriteError: The disk is full, for example.
    """
    try:
        with path.open("wb") as file:
            names = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
            header = _header([(name, tensors[name]) for name in names], metadata or {})
            file.write(len(header).to_bytes(8, "little") + header)
            for name in names:
                value = tensors[name].detach().cpu().reshape(-1)
                file.write(value.view(torch.uint8).numpy().data)
    except OSError as error:
        num_bytes = sum(tensor.nbytes for tensor in tensors.values())
        raise write_error(path, error, num_bytes=num_bytes) from error


def _header(tensors: Sequence[tuple[str, Tensor]], metadata: Mapping[str, str]) -> bytes:
    """Return what a safetensors file says of its tensors, which follow in this order."""
    content: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    end = 0
    for name, tensor in tensors:
        begin, end = end, end + tensor.nbytes
        content[name] = {
            "dtype": _TYPES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [begin, end],
        }
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
    return text + b" " * (-len(text) % _ALIGNMENT)


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file.

    Raises:
        DamagedCheckpointError: It is missing or damaged.
    """
    try:
        require_regular(path)
        with path.open("rb"):  # for the reason: safetensors takes what may not be read for missing
            pass
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise DamagedCheckpointError(
            f"{path} must be a complete safetensors file, but: {error}"
        ) from error


def read_metadata(path: Path) -> dict[str, str]:
    """Return what ``write_tensors`` wrote beside the tensors.

    Raises:
        DamagedCheckpointError: The file is missing or damaged.
    """
    try:
        require_regular(path)
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except (OSError, SafetensorError) as error:
        raise DamagedCheckpointError(
            f"{path} must be a complete safetensors file, but: {error}"
        ) from error


def fill_weights(model: nn.Module, tensors: Mapping[str, Tensor], *, where: str) -> None:
    """Load a model's weights, which must have exactly its names and shapes.

    Raises:
        CheckpointError: Names or shapes differ; the first few are named.
    """
    own = model.state_dict()
    differences = [f"{name} is missing" for name in own if name not in tensors]
    differences += [f"{name} is unknown" for name in tensors if name not in own]
    differences += [
        f"{name} must be {tuple(own[name].shape)}, but is {tuple(value.shape)}"
        for name, value in tensors.items()
        if name in own and own[name].shape != value.shape
    ]
    if differences:
        raise CheckpointError(
            f"{where} must have the weights of this model, but {'; '.join(differences[:5])}"
            + (f"; and {len(differences) - 5} more" if len(differences) > 5 else "")
        )
    model.load_state_dict(dict(tensors))
