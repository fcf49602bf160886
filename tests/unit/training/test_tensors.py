"""Files of tensors: as safetensors reads them, and nothing beside them where one is killed."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import load_file, save

from killed import contents
from taskaware.training.tensors import read_metadata, write_tensors

if TYPE_CHECKING:
    from pathlib import Path

KINDS = (
    *(torch.float64, torch.float16, torch.bfloat16),
    *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8),
)


def test_safetensors_reads_what_is_written_of_every_type_and_shape(tmp_path: Path):
    path = tmp_path / "file"
    whole = torch.arange(24, dtype=torch.float32).reshape(2, 3, 4)
    tensors = {
        **{"whole": whole, "turned": whole.permute(2, 0, 1), "naïve": whole[:, 1:2]},
        **{"scalar": torch.tensor(1.5), "empty": torch.zeros(0, 3), "yes": whole > 3},
        **{str(kind): torch.arange(5).to(kind) for kind in KINDS},
    }
    write_tensors(path, tensors, {"made_with": "é"})
    found = load_file(path)
    assert set(found) == set(tensors)
    for name, value in tensors.items():
        assert (found[name].dtype, found[name].shape) == (value.dtype, value.shape)
        assert torch.equal(found[name], value)
    assert read_metadata(path) == {"made_with": "é"}
    write_tensors(path, {})
    assert load_file(path) == {}


def test_a_file_is_to_the_byte_as_safetensors_writes_it(tmp_path: Path):
    tensors = {name: torch.randn(3, 4) for name in ("b", "a", "layers.10.weight")}
    write_tensors(tmp_path / "file", tensors)
    assert (tmp_path / "file").read_bytes() == save(tensors)


def test_a_process_that_is_killed_inside_a_file_leaves_no_other_name(tmp_path: Path):
    resource = pytest.importorskip("resource", reason="limits on files are POSIX's")
    child = os.fork()
    if child == 0:
        try:
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # kills where the limit is met
            write_tensors(tmp_path / "model.safetensors", {"weight": torch.zeros(100_000)})
        finally:
            os._exit(0)
    _, ended = os.waitpid(child, 0)
    assert os.WTERMSIG(ended) == signal.SIGXFSZ
    assert {name: len(data) for name, data in contents(tmp_path).items()} == {
        "model.safetensors": 10_000
    }
