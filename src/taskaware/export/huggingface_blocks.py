"""Our blocks by the names that Whisper and Marian share: ``model.pretrained.blocks``, backwards.

Shape legend: D d_model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from taskaware.model.settings import ModelSettings

_KINDS = ("weight", "bias")
_NORMS = {
    "encoder": {
        "around_attention": "self_attn_layer_norm",
        "around_feed_forward": "final_layer_norm",
    },
    "decoder": {
        "around_self": "self_attn_layer_norm",
        "around_cross": "encoder_attn_layer_norm",
        "around_feed_forward": "final_layer_norm",
    },
}
_LINEARS = {
    "feed_forward.expand": "fc1",
    "feed_forward.contract": "fc2",
    "self_attention.output": "self_attn.out_proj",
}
_OF_THE_DECODER = {
    "cross_attention.query": "encoder_attn.q_proj",
    "cross_attention.output": "encoder_attn.out_proj",
}


def block_tensors(
    weights: Mapping[str, Tensor], settings: ModelSettings, *, key_bias: bool
) -> dict[str, Tensor]:
    """Return all blocks and last norms by their names.

    Args:
        weights: Ours.
        settings: Ours.
        key_bias: Whether keys have a bias there. Where they have none, ours is left out: it adds
            the same to the scores of all keys, so that attention stays as it is.
    """
    theirs: dict[str, Tensor] = {}
    sizes = (("encoder", settings.num_encoder_layers), ("decoder", settings.num_decoder_layers))
    for side, count in sizes:
        for index in range(count):
            block, prefix = f"{side}.{index}", f"model.{side}.layers.{index}"
            linears = _LINEARS | (_OF_THE_DECODER if side == "decoder" else {})
            names = {f"{ours}.norm": name for ours, name in _NORMS[side].items()} | linears
            for ours, name in names.items():
                for kind in _KINDS:
                    theirs[f"{prefix}.{name}.{kind}"] = weights[f"{block}.{ours}.{kind}"]
            products = {"self_attention.query_key_value": ("self_attn", "qkv")}
            if side == "decoder":
                products["cross_attention.key_value"] = ("encoder_attn", "kv")
            for ours, (attention, letters) in products.items():
                for kind in _KINDS:
                    parts = weights[f"{block}.{ours}.{kind}"].chunk(len(letters))
                    for letter, part in zip(letters, parts, strict=True):
                        if key_bias or (letter, kind) != ("k", "bias"):
                            theirs[f"{prefix}.{attention}.{letter}_proj.{kind}"] = part
        if settings.norm == "pre":
            for kind in _KINDS:
                theirs[f"model.{side}.layer_norm.{kind}"] = weights[f"{side}_norm.{kind}"]
    return theirs
