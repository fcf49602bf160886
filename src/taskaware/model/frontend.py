"""Preprocessing layers: from a source of any modality to a sequence of d_model-sized vectors.

A front end is a module with ``forward(source, lengths) -> (sequence, lengths)`` and
``output_lengths``; a new modality is one more class here and one more line in ``create_model``.

Shape legend: B batch, S source positions before and R after, F feature bins, C channels, D d_model,
V vocabulary.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from taskaware.model.attention import valid_mask


class TokenEmbedding(nn.Module):
    """The one embedding that sources, targets and the output layer share (``[V, D]``).

    Drawn from N(0, D^-0.5) and multiplied by sqrt(D) when looked up, as in the TensorFlow official
    Transformer.
    """

    def __init__(self, vocabulary_size: int, d_model: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(vocabulary_size, d_model))
        self.scale = math.sqrt(d_model)
        nn.init.normal_(self.weight, std=d_model**-0.5)

    def output_lengths(self, lengths: Tensor) -> Tensor:
        """A piece is a position."""
        return lengths

    def embed(self, pieces_BS: Tensor) -> Tensor:
        """Return ``[B, S, D]`` for int64 pieces."""
        return F.embedding(pieces_BS, self.weight) * self.scale

    def forward(self, pieces_BS: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Return the embedded text ``[B, S, D]`` and its lengths."""
        return self.embed(pieces_BS), lengths

    def logits(self, x: Tensor) -> Tensor:
        """Return ``[..., V]``: the embedding used as the output layer."""
        return F.linear(x, self.weight)


class SpeechFrontend(nn.Module):
    """Convolutions of stride 2 in time and frequency, then a projection to D (section 2.1).

    Three layers make one position of eight frames: 80 ms at a hop of 10 ms.
    """

    def __init__(self, num_features: int, d_model: int, *, num_layers: int, channels: int) -> None:
        super().__init__()
        inputs = [1, *([channels] * (num_layers - 1))]
        self.convolutions = nn.ModuleList(
            nn.Conv2d(size, channels, kernel_size=3, stride=2, padding=1) for size in inputs
        )
        bins = num_features
        for _ in range(num_layers):
            bins = (bins + 1) // 2
        self.projection = nn.Linear(channels * bins, d_model)

    def output_lengths(self, lengths: Tensor) -> Tensor:
        """Return the positions that ``lengths`` frames become, int64 ``[B]``."""
        for _ in self.convolutions:
            lengths = (lengths + 1) // 2
        return lengths

    def forward(self, frames_BSF: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sequence ``[B, R, D]`` and its lengths ``[B]``.

        Padding is set to zero before every layer, exactly what a convolution sees beyond the end of
        a sequence that is alone: more padding never changes the valid positions.
        """
        x_BCSF = frames_BSF[:, None]
        for convolution in self.convolutions:
            mask_BS = valid_mask(lengths, x_BCSF.shape[2])
            x_BCSF = (x_BCSF * mask_BS[:, None, :, None]).contiguous(
                memory_format=torch.channels_last  # a quarter faster on CPUs
            )
            x_BCSF = F.relu(convolution(x_BCSF))
            lengths = (lengths + 1) // 2
        x_BRX = x_BCSF.transpose(1, 2).flatten(2)
        return self.projection(x_BRX), lengths


class FeatureFrontend(nn.Module):
    """A projection for sources that are vectors already, from any other network."""

    def __init__(self, num_features: int, d_model: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(num_features)
        self.projection = nn.Linear(num_features, d_model)

    def output_lengths(self, lengths: Tensor) -> Tensor:
        """A vector is a position."""
        return lengths

    def forward(self, features_BSF: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sequence ``[B, S, D]`` and its lengths ``[B]``."""
        return self.projection(self.norm(features_BSF)), lengths
