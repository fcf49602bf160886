"""Bottleneck adapters (Houlsby et al. 2019): two thin layers after a layer of a frozen base.

Shape legend: X positions of any number of dimensions, D d_model, R rank.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class BottleneckAdapter(nn.Module):
    """A linear layer and, behind it, sets of two more with a ReLU between, around which it adds.

    The last layer of an attention or a feed-forward has one behind it, inside the residual
    connection of the block, as the paper's figure 2 does. One set acts, or none. A new one adds
    exactly nothing, because its second layer is zero.

    Args:
        base_layer: The layer of the base, with D outputs.
    """

    def __init__(self, base_layer: nn.Linear) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.down = nn.ModuleDict()
        self.up = nn.ModuleDict()
        self.dropout = nn.Dropout()
        self._chosen = ""
        self._enabled = False

    def add(self, name: str, *, rank: int, dropout: float) -> None:
        """Add a set of two layers, D to R and R to D, beside the base's device and type."""
        weight = self.base_layer.weight
        width = self.base_layer.out_features
        self.down[name] = nn.Linear(width, rank, device=weight.device, dtype=weight.dtype)
        self.up[name] = nn.Linear(rank, width, device=weight.device, dtype=weight.dtype)
        nn.init.zeros_(self.up[name].get_parameter("weight"))
        nn.init.zeros_(self.up[name].get_parameter("bias"))
        self.dropout.p = dropout

    def set_adapter(self, adapter_names: str) -> None:
        """Choose a set."""
        self._chosen = adapter_names

    def enable_adapters(self, enabled: bool) -> None:
        """Let the chosen set act, or leave the plain layer."""
        self._enabled = enabled

    def forward(self, x_XD: Tensor) -> Tensor:
        """Return ``[X, D]``."""
        out_XD = self.base_layer(x_XD)
        if not self._enabled:
            return out_XD
        hidden_XR = torch.relu(self.down[self._chosen](self.dropout(out_XD)))
        return out_XD + self.up[self._chosen](hidden_XR)
