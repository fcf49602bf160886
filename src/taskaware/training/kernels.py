"""What computes products and attention where batches have ever new shapes."""

from __future__ import annotations

import os

import torch

# How many compiled products are kept, by oneDNN itself and by torch's layer above it (ideep). Each
# takes half a megabyte to one, and both keep 1,024 where nothing is said. An update of speech in
# bfloat16 has 84, with an implicit task network 90: with fewer kept, each is compiled anew.
_CACHES = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")
_CAPACITY = 96


def suit_changing_shapes() -> None:
    """Let nothing be kept, and nothing be planned, for each shape of a batch.

    On a CPU every convolution, and in bfloat16 every matrix product, is compiled for its shape. The
    layers of a model share the shapes of one batch, so that those of a batch are enough to keep:
    training is as fast (benchmarks/memory.py). The two caches read their capacity from the
    environment when they are first used, so this must be called before the first product; what the
    environment says already counts.

    On a CUDA device cuDNN's attention plans each new shape anew, which takes longer than an update;
    torch's other fused kernels do not (benchmarks/gpu.py).
    """
    for name in _CACHES:
        os.environ.setdefault(name, str(_CAPACITY))
    torch.backends.cuda.enable_cudnn_sdp(False)
