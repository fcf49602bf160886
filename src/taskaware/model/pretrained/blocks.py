"""Encoder and decoder blocks by the names that Whisper, Speech2Text, Marian and M2M100 share.

Shape legend: D d_model, X d_ff.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from taskaware.errors import CheckpointError

if TYPE_CHECKING:
    from taskaware.model.pretrained.source import Config, Tensors
    from taskaware.model.settings import ModelSettings

_ACTIVATIONS: dict[Any, Literal["relu", "gelu", "swish"]] = {
    "relu": "relu",
    "gelu": "gelu",
    "swish": "swish",
    "silu": "swish",
}


def block_settings(config: Config) -> dict[str, Any]:
    """Return the settings that all families say alike."""
    activation = config.values.get("activation_function")
    if not isinstance(activation, str) or activation not in _ACTIVATIONS:
        raise CheckpointError(
            f"{config.where}: activation_function must be one of {', '.join(_ACTIVATIONS)}, but is "
            f"{activation!r}"
        )
    return {
        "d_model": config.number("d_model"),
        "num_heads": config.both("attention_heads"),
        "d_ff": config.both("ffn_dim"),
        "num_encoder_layers": config.number("encoder_layers"),
        "num_decoder_layers": config.number("decoder_layers"),
        "dropout": config.share("dropout", 0.1),
        "attention_dropout": config.share("attention_dropout", 0.0),
        "relu_dropout": config.share("activation_dropout", 0.0),
        "activation": _ACTIVATIONS[activation],
        "attention_bias": True,
        "layer_norm_eps": 1e-5,
    }


def block_tensors(
    tensors: Tensors, settings: ModelSettings, *, key_bias: bool = True
) -> dict[str, Tensor]:
    """Return all blocks and last norms by our names.

    Args:
        tensors: Theirs, ``model.encoder.layers.0.fc1.weight`` and so on.
        settings: Ours.
        key_bias: Whether the keys have a bias. Where they have none it becomes zero: it adds the
            same to the scores of all keys, so that attention stays as it is.
    """
    ours: dict[str, Tensor] = {}
    sizes = (("encoder", settings.num_encoder_layers), ("decoder", settings.num_decoder_layers))
    for side, count in sizes:
        for index in range(count):
            reading = _Block(tensors, settings, f"model.{side}.layers.{index}", key_bias=key_bias)
            parts = reading.encoder() if side == "encoder" else reading.decoder()
            ours |= {f"{side}.{index}.{name}": tensor for name, tensor in parts.items()}
        if settings.norm == "pre":
            for kind in ("weight", "bias"):
                name = f"model.{side}.layer_norm.{kind}"
                ours[f"{side}_norm.{kind}"] = tensors.take(name, settings.d_model)
    return ours


class _Block:
    """One block of theirs, read part by part."""

    def __init__(
        self, tensors: Tensors, settings: ModelSettings, prefix: str, *, key_bias: bool
    ) -> None:
        self._tensors = tensors
        self._prefix = prefix
        self._d_model, self._d_ff = settings.d_model, settings.d_ff
        self._key_bias = key_bias

    def encoder(self) -> dict[str, Tensor]:
        """Return the parts of an encoder block."""
        return {
            **self._self_attention(),
            **self._norm("around_attention", "self_attn_layer_norm"),
            **self._feed_forward(),
        }

    def decoder(self) -> dict[str, Tensor]:
        """Return the parts of a decoder block."""
        query_w, query_b = self._linear("encoder_attn.q_proj", self._d_model, self._d_model)
        key_value = [self._product("encoder_attn", letter) for letter in "kv"]
        return {
            **self._self_attention(),
            **self._norm("around_self", "self_attn_layer_norm"),
            "cross_attention.query.weight": query_w,
            "cross_attention.query.bias": query_b,
            "cross_attention.key_value.weight": torch.cat([weight for weight, _ in key_value]),
            "cross_attention.key_value.bias": torch.cat([bias for _, bias in key_value]),
            **self._output("cross_attention", "encoder_attn"),
            **self._norm("around_cross", "encoder_attn_layer_norm"),
            **self._feed_forward(),
        }

    def _self_attention(self) -> dict[str, Tensor]:
        products = [self._product("self_attn", letter) for letter in "qkv"]
        return {
            "self_attention.query_key_value.weight": torch.cat([weight for weight, _ in products]),
            "self_attention.query_key_value.bias": torch.cat([bias for _, bias in products]),
            **self._output("self_attention", "self_attn"),
        }

    def _feed_forward(self) -> dict[str, Tensor]:
        expand_w, expand_b = self._linear("fc1", self._d_ff, self._d_model)
        contract_w, contract_b = self._linear("fc2", self._d_model, self._d_ff)
        return {
            "feed_forward.expand.weight": expand_w,
            "feed_forward.expand.bias": expand_b,
            "feed_forward.contract.weight": contract_w,
            "feed_forward.contract.bias": contract_b,
            **self._norm("around_feed_forward", "final_layer_norm"),
        }

    def _product(self, attention: str, letter: str) -> tuple[Tensor, Tensor]:
        name = f"{attention}.{letter}_proj"
        if letter == "k" and not self._key_bias:
            weight = self._tensors.take(
                f"{self._prefix}.{name}.weight", self._d_model, self._d_model
            )
            return weight, torch.zeros(self._d_model)
        return self._linear(name, self._d_model, self._d_model)

    def _output(self, ours: str, theirs: str) -> dict[str, Tensor]:
        weight, bias = self._linear(f"{theirs}.out_proj", self._d_model, self._d_model)
        return {f"{ours}.output.weight": weight, f"{ours}.output.bias": bias}

    def _linear(self, name: str, outputs: int, inputs: int) -> tuple[Tensor, Tensor]:
        weight = self._tensors.take(f"{self._prefix}.{name}.weight", outputs, inputs)
        return weight, self._tensors.take(f"{self._prefix}.{name}.bias", outputs)

    def _norm(self, ours: str, theirs: str) -> dict[str, Tensor]:
        return {
            f"{ours}.norm.{kind}": self._tensors.take(
                f"{self._prefix}.{theirs}.{kind}", self._d_model
            )
            for kind in ("weight", "bias")
        }
