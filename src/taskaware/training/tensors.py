"""Files of tensors (safetensors): written, read, compared with their checksums and with a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from taskaware.errors import CheckpointError, DamagedCheckpointError
from taskaware.files import file_sha256, reporting, require_regular, write_error

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor, nn


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
    """Write a safetensors file, with the mode that the umask says.

    It may be seen half: see ``files`` for what keeps readers from that.

    Raises:
        WriteError: The disk is full, for example.
    """
    with reporting(path):
        with path.open("wb"):
            pass
        mode = path.stat().st_mode & 0o777
        try:
            save_file(dict(tensors), path, metadata=dict(metadata) if metadata else None)
        except SafetensorError as error:
            num_bytes = sum(tensor.nbytes for tensor in tensors.values())
            raise write_error(path, error, num_bytes=num_bytes) from error
        path.chmod(mode)  # safetensors puts a file of its own there, for the owner alone


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


def load_weights(model: nn.Module, path: Path) -> None:
    """Load a model's weights from a file that must have exactly its names and shapes."""
    fill_weights(model, load_tensors(path), where=str(path))


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
