"""Sources that are numbers: arrays, tensors, NumPy files. Shape legend: N samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from taskaware.errors import DataError, UserError
from taskaware.files import NUMPY_ERRORS

if TYPE_CHECKING:
    from pathlib import Path

    import torch

_FULL_SCALE = {"int16": (0, 1 << 15), "int32": (0, 1 << 31), "uint8": (128, 1 << 7)}


def as_waveform(source: np.ndarray | torch.Tensor, name: str) -> np.ndarray:
    """Return numbers as float32 ``[N]``, full scale at -1 and 1.

    Raises:
        UserError: They are no waveform.
    """
    array = as_numpy(source)
    if array.ndim == 2 and 1 in array.shape:  # one channel, as torchaudio and soundfile give it
        array = array.reshape(-1)
    if array.ndim != 1:
        raise UserError(
            f"a waveform must have one dimension, [samples], but is {list(array.shape)}: choose a "
            "channel or take the mean of all (waveform[0] of [channels, samples], waveform[:, 0] "
            "of [samples, channels])"
        )
    if array.dtype.kind == "f":
        with np.errstate(over="ignore"):
            return np.require(array, np.float32, ["C", "W"])  # torch warns of what is read-only
    if array.dtype.name in _FULL_SCALE:
        zero, full_scale = _FULL_SCALE[array.dtype.name]
        return (array.astype(np.float32) - zero) / full_scale
    raise UserError(
        f"{name} must be floating-point numbers, full scale at -1 and 1, or int16, int32 or uint8, "
        f"but is {array.dtype}"
    )


def as_numpy(source: np.ndarray | torch.Tensor) -> np.ndarray:
    """Return numbers as an array; bfloat16, which NumPy lacks, as float32.

    Raises:
        UserError: They are no plain numbers.
    """
    if isinstance(source, np.ma.MaskedArray):
        raise UserError("an array must have all its numbers, but is masked: give array.filled(0)")
    if isinstance(source, np.ndarray):
        return source
    try:
        tensor = source.detach().cpu()
        return (tensor.float() if tensor.is_floating_point() else tensor).numpy()
    except (RuntimeError, TypeError) as error:  # sparse, quantised, nested, on `meta`
        raise UserError(
            f"a tensor must be a dense one that holds real numbers, but is not: {error}"
        ) from error


def load_array(file: Path | BinaryIO, name: str) -> np.ndarray:
    """Return the array of a .npy file; objects are never loaded.

    Raises:
        DataError: It is no such file, or an archive of several.
    """
    try:
        array = np.load(file, allow_pickle=False)
    except NUMPY_ERRORS as error:
        raise DataError(f"{name} must be a NumPy file, but: {error}") from error
    if not isinstance(array, np.ndarray):
        raise DataError(f"{name} must be a NumPy file of one array (.npy), but is .npz")
    return array
