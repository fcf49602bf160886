"""What is set so that batches of ever new shapes cost no more than batches of one shape."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
import torch

from taskaware.training.kernels import suit_changing_shapes

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def cudnn_attention() -> Iterator[None]:
    """Have cuDNN's attention on, as torch has by default, and afterwards what was before."""
    before = torch.backends.cuda.cudnn_sdp_enabled()
    torch.backends.cuda.enable_cudnn_sdp(True)
    yield
    torch.backends.cuda.enable_cudnn_sdp(before)


def test_few_compiled_products_are_kept_unless_the_environment_says_otherwise(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.delenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", raising=False)
    monkeypatch.setenv("LRU_CACHE_CAPACITY", "7")
    suit_changing_shapes()
    assert int(os.environ["ONEDNN_PRIMITIVE_CACHE_CAPACITY"]) < 100
    assert os.environ["LRU_CACHE_CAPACITY"] == "7"


@pytest.mark.usefixtures("cudnn_attention")
def test_attention_that_plans_each_shape_anew_is_not_used_on_a_gpu():
    suit_changing_shapes()
    assert not torch.backends.cuda.cudnn_sdp_enabled()
    assert torch.backends.cuda.flash_sdp_enabled()
    assert torch.backends.cuda.mem_efficient_sdp_enabled()
