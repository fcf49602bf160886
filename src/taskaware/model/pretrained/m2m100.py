"""M2M100 (Fan et al. 2020) and NLLB-200 (NLLB Team 2022), which has the same architecture.

Shape legend: V vocabulary, D d_model.
"""

from __future__ import annotations

from taskaware.model.conditioning_settings import ConditioningSettings
from taskaware.model.pretrained.blocks import block_settings, block_tensors
from taskaware.model.pretrained.source import Config, Pretrained, Tensors
from taskaware.model.settings import ModelSettings


def from_m2m100(config: Config, tensors: Tensors) -> Pretrained:
    """Return a ``M2M100ForConditionalGeneration`` as our model.

    Raises:
        CheckpointError: Configuration or tensors are not those of such a model.
    """
    pad = config.number("pad_token_id")
    settings = ModelSettings(
        **block_settings(config),
        norm="pre",
        first_position=pad + 1,
        embedding_scale=config.flag("scale_embedding", default=True),
        tied_output=config.flag("tie_word_embeddings", default=True),
        conditioning=ConditioningSettings(cue="none"),
    )
    V, D = config.number("vocab_size"), settings.d_model
    shared = [
        "model.shared.weight",
        "model.encoder.embed_tokens.weight",
        "model.decoder.embed_tokens.weight",
    ]
    output = "lm_head.weight"
    ours = block_tensors(tensors, settings)
    names = [*shared, output] if settings.tied_output else shared
    ours["token_embedding.weight"] = tensors.take_shared(names, V, D)
    if not settings.tied_output:
        ours["token_embedding.output_weight"] = tensors.take(output, V, D)
    tensors.finish()
    return Pretrained(
        family="m2m_100",
        settings=settings,
        tensors=ours,
        vocabulary_size=V,
        modality="text",
        begin=config.number("decoder_start_token_id"),
        end=config.number("eos_token_id"),
        pad=pad,
    )
