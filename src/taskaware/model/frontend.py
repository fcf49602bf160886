"""Preprocessing layers: from a source of any modality to a sequence of d_model-sized vectors.

What they put out has about the size of an embedded text, whose numbers have variance 1, from the
first update on. Positions of such a size are added to it: with the initialisation of torch speech
came out at a sixth of them and less, and was hardly heard (docs/log.md).

A front end is a module with ``forward(source, lengths) -> (sequence, lengths)``. A new modality is
one more class here, its case in ``parts.create_frontend`` and its entry in ``types.MODALITIES``.

Shape legend: B batch, S source positions before and R after, F feature bins, C channels, D d_model,
V vocabulary.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from taskaware.model.layers import Activation, activate
from taskaware.model.packing import valid_mask

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ConvolutionActivation = Activation | Literal["glu"]
# What makes up for an activation: the root of 1 / E[f(x)^2] for a normal x (relu: He et al. 2015).
_GAINS: Mapping[ConvolutionActivation, float] = {
    "relu": math.sqrt(2),
    "gelu": 1.534,
    "swish": 1.677,
    "glu": 1.846,
}

_PART_FRAMES = 2048  # of a few recordings, whose 64 channels at 40 bins take 10 MB


class TokenEmbedding(nn.Module):
    """The one embedding that sources, targets and the output layer share (``[V, D]``).

    Drawn from N(0, D^-0.5) and multiplied by sqrt(D) when looked up, as in the TensorFlow official
    Transformer.

    Args:
        vocabulary_size: V.
        d_model: D.
        scaled: Whether it is multiplied by sqrt(D) when looked up.
        tied: Whether it is the output layer too; else that has weights of its own.
        output_bias: Whether the logits have a bias.
    """

    def __init__(
        self,
        vocabulary_size: int,
        d_model: int,
        *,
        scaled: bool = True,
        tied: bool = True,
        output_bias: bool = False,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(vocabulary_size, d_model))
        self.scale = math.sqrt(d_model) if scaled else 1.0
        nn.init.normal_(self.weight, std=d_model**-0.5)
        self.output_weight = None if tied else nn.Parameter(self.weight.detach().clone())
        self.output_bias = nn.Parameter(torch.zeros(vocabulary_size)) if output_bias else None
        self.reduced_output: nn.Module | None = None  # stands for the output layer (``reduced``)

    @property
    def output_layer_weight(self) -> Tensor:
        """The weights of the output layer, ``[V, D]``."""
        return self.weight if self.output_weight is None else self.output_weight

    def embed(self, pieces_BS: Tensor) -> Tensor:
        """Return ``[B, S, D]`` for int64 pieces."""
        embedded = F.embedding(pieces_BS, self.weight)
        return embedded if self.scale == 1.0 else embedded * self.scale

    def forward(self, pieces_BS: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Return the embedded text ``[B, S, D]`` and its lengths."""
        return self.embed(pieces_BS), lengths

    def logits(self, x: Tensor) -> Tensor:
        """Return ``[..., V]``; the output layer is the embedding, where it is tied."""
        if self.reduced_output is not None:
            return self.reduced_output(x)
        return F.linear(x, self.output_layer_weight, self.output_bias)


class SpeechFrontend(nn.Module):
    """Convolutions over time and frequency, then a projection to D (section 2.1).

    Each has stride 2 in frequency. Three layers of stride 2 in time make one position of eight
    frames: 80 ms at a hop of 10 ms; two make one of four.

    Args:
        num_features: F.
        d_model: D.
        channels: C.
        kernel: Size in time and frequency, an odd number.
        strides: The stride in time of every layer.
        activation: Follows every layer.
    """

    def __init__(
        self,
        num_features: int,
        d_model: int,
        *,
        channels: int,
        kernel: int = 3,
        strides: Sequence[int] = (2, 2, 2),
        activation: ConvolutionActivation = "relu",
    ) -> None:
        super().__init__()
        self.strides = tuple(strides)
        self.activation: ConvolutionActivation = activation
        inputs = [1, *([channels] * (len(self.strides) - 1))]
        self.convolutions = nn.ModuleList(
            nn.Conv2d(
                size,
                _outputs(channels, activation),
                kernel_size=kernel,
                stride=(stride, 2),
                padding=kernel // 2,
            )
            for size, stride in zip(inputs, self.strides, strict=True)
        )
        bins = num_features
        for _ in self.strides:
            bins = (bins + 1) // 2
        self.projection = nn.Linear(channels * bins, d_model)
        for convolution in self.convolutions:
            _keep_size(convolution, activation)

    def forward(self, frames_BSF: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sequence ``[B, R, D]`` and its lengths ``[B]``.

        Padding is zero before every layer, exactly what a convolution sees beyond the end of a
        sequence that is alone: more padding never changes the valid positions.

        While training on a CPU a few examples pass at a time, without the padding that the others
        would give them: what lies between two layers is the largest that a model of speech has.
        What the first layer puts out, the largest of all, is not kept for the gradient, but
        computed again.
        """
        if not self.training or frames_BSF.device.type != "cpu":
            return self._convolve(frames_BSF, lengths)
        parts = [
            self._convolve(frames_BSF[rows, : int(lengths[rows].max())], lengths[rows])
            for rows in _parts(*frames_BSF.shape[:2])
        ]
        num_positions = int(_strided(torch.tensor(frames_BSF.shape[1]), self.strides))
        x_BRD = torch.cat(
            [F.pad(x_BRD, (0, 0, 0, num_positions - x_BRD.shape[1])) for x_BRD, _ in parts]
        )
        return x_BRD, torch.cat([lengths for _, lengths in parts])

    def _convolve(self, frames_BSF: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        # A view whose channels stand last, which a convolution passes on: far faster on CPUs.
        x_BCSF = _without_padding(frames_BSF, lengths)[..., None].permute(0, 3, 1, 2)
        parameters = [_weight_and_bias(layer) for layer in self.convolutions]
        if self.training and x_BCSF.device.type == "cpu":
            # Computing anew ends where the second layer has its input. The weights are given, as
            # those of now: a step of meta-learning puts others into the module for a while.
            x_BCSF = checkpoint(
                *(self._first_layers, x_BCSF, lengths, parameters[:2]),
                use_reentrant=False,
                preserve_rng_state=False,
            )
        else:
            x_BCSF = self._first_layers(x_BCSF, lengths, parameters[:2])
        lengths = _strided(lengths, self.strides[:2])
        for stride, (weight, bias) in zip(self.strides[2:], parameters[2:], strict=True):
            x_BCSF = self._convolution(self._valid_activated(x_BCSF, lengths), weight, bias, stride)
            lengths = _strided(lengths, (stride,))
        x_BRX = self._valid_activated(x_BCSF, lengths).transpose(1, 2).flatten(2)
        return self.projection(x_BRX), lengths

    def _first_layers(
        self, x_BCSF: Tensor, lengths: Tensor, parameters: Sequence[tuple[Tensor, Tensor]]
    ) -> Tensor:
        """Return what two layers, or the only one, put out before the activation of the last."""
        x_BCSF = self._convolution(x_BCSF, *parameters[0], self.strides[0])
        for weight, bias in parameters[1:]:
            x_BCSF = self._valid_activated(x_BCSF, _strided(lengths, self.strides[:1]))
            x_BCSF = self._convolution(x_BCSF, weight, bias, self.strides[1])
        return x_BCSF

    def _convolution(self, x_BCSF: Tensor, weight: Tensor, bias: Tensor, stride: int) -> Tensor:
        return F.conv2d(x_BCSF, weight, bias, stride=(stride, 2), padding=weight.shape[-1] // 2)

    def _valid_activated(self, x_BCSF: Tensor, lengths: Tensor) -> Tensor:
        if self.activation == "relu" and x_BCSF.requires_grad and x_BCSF.device.type == "cpu":
            return _RectifiedValid.apply(x_BCSF, lengths)  # type: ignore[return-value]
        mask_B1S1 = valid_mask(lengths, x_BCSF.shape[2])[:, None, :, None]
        if self.activation == "relu" and not x_BCSF.requires_grad:
            # In the place of what a convolution put out, which nobody else has: one of the largest.
            return x_BCSF.relu_().mul_(mask_B1S1.to(x_BCSF.dtype))
        return _activate(x_BCSF, self.activation) * mask_B1S1


class TimeConvolutions(nn.Module):
    """Convolutions over time alone, whose channels are the bins at first and D at last.

    The front end of Whisper (kernel 3, strides 1 and 2, GELU) and of Speech2Text (kernel 5, strides
    2 and 2, gated linear units).

    Args:
        num_features: F.
        d_model: D.
        channels: C, of every layer but the last.
        kernel: Size in time, an odd number.
        strides: The stride of every layer.
        activation: Follows every layer.
    """

    def __init__(
        self,
        num_features: int,
        d_model: int,
        *,
        channels: int,
        kernel: int,
        strides: Sequence[int],
        activation: ConvolutionActivation,
    ) -> None:
        super().__init__()
        self.strides = tuple(strides)
        self.activation: ConvolutionActivation = activation
        sizes = [num_features, *([channels] * (len(self.strides) - 1)), d_model]
        self.convolutions = nn.ModuleList(
            nn.Conv1d(
                size, _outputs(following, activation), kernel, stride=stride, padding=kernel // 2
            )
            for size, following, stride in zip(sizes, sizes[1:], self.strides, strict=False)
        )
        for convolution in self.convolutions:
            _keep_size(convolution, activation)

    def forward(self, frames_BSF: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sequence ``[B, R, D]`` and its lengths ``[B]``; padding as in speech above."""
        x_BCS = frames_BSF.transpose(1, 2)
        for convolution, stride in zip(self.convolutions, self.strides, strict=True):
            x_BCS = x_BCS * valid_mask(lengths, x_BCS.shape[2])[:, None, :]
            x_BCS = _activate(convolution(x_BCS), self.activation)
            lengths = _strided(lengths, (stride,))
        return x_BCS.transpose(1, 2), lengths


class _RectifiedValid(torch.autograd.Function):
    """ReLU with padding set to zero, whose gradient comes back in the order of what it put out.

    Channels stand last there; torch's own ReLU goes through two orders at once number by number.
    """

    @staticmethod
    def forward(ctx: Any, x_BCSF: Tensor, lengths: Tensor) -> Tensor:
        out_BCSF = x_BCSF.clamp_min(0)
        for row_CSF, length in zip(out_BCSF, lengths.tolist(), strict=True):
            row_CSF[:, length:] = 0  # padding alone is touched, and not all in a product
        ctx.save_for_backward(out_BCSF)
        return out_BCSF

    @staticmethod
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, gradient_BCSF: Tensor
    ) -> tuple[Tensor, None]:
        (out_BCSF,) = ctx.saved_tensors
        gradient_BCSF = gradient_BCSF.contiguous(memory_format=torch.channels_last)
        # What torch can differentiate again, which second-order meta-learning needs.
        return torch.ops.aten.threshold_backward(gradient_BCSF, out_BCSF.detach(), 0.0), None


def _weight_and_bias(convolution: nn.Module) -> tuple[Tensor, Tensor]:
    assert isinstance(convolution, nn.Conv2d)
    assert convolution.bias is not None
    return convolution.weight, convolution.bias


def _keep_size(convolution: nn.Module, activation: ConvolutionActivation) -> None:
    """Draw weights such that numbers behind the activation have the size of those before.

    Linear layers are drawn by ``parts.initialise``, which does that already.
    """
    assert isinstance(convolution, nn.Conv1d | nn.Conv2d)
    deviation = _GAINS[activation] * convolution.weight[0].numel() ** -0.5
    nn.init.normal_(convolution.weight, std=deviation)
    assert convolution.bias is not None
    nn.init.zeros_(convolution.bias)


def _parts(num_examples: int, num_frames: int) -> list[slice]:
    """Return the examples of a batch in parts of some ``_PART_FRAMES`` frames, at least one."""
    size = max(1, _PART_FRAMES // num_frames)
    return [slice(first, first + size) for first in range(0, num_examples, size)]


def _without_padding(x_BSF: Tensor, lengths: Tensor) -> Tensor:
    return x_BSF * valid_mask(lengths, x_BSF.shape[1])[:, :, None]


def _strided(lengths: Tensor, strides: Sequence[int]) -> Tensor:
    """Return the lengths behind convolutions that pad half an odd kernel on either side."""
    for stride in strides:
        lengths = (lengths + stride - 1) // stride
    return lengths


def _outputs(channels: int, activation: ConvolutionActivation) -> int:
    """Return the channels that a convolution puts out, of which a gate keeps half."""
    return 2 * channels if activation == "glu" else channels


def _activate(x_BC: Tensor, activation: ConvolutionActivation) -> Tensor:
    return F.glu(x_BC, dim=1) if activation == "glu" else activate(x_BC, activation)


class FeatureFrontend(nn.Module):
    """A projection for sources that are vectors already, from any other network."""

    def __init__(self, num_features: int, d_model: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(num_features)
        self.projection = nn.Linear(num_features, d_model)

    def forward(self, features_BSF: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sequence ``[B, S, D]`` and its lengths ``[B]``."""
        return self.projection(self.norm(features_BSF)), lengths
