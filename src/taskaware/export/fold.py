"""One task's modulation folded into the weights: a plain model without a task network.

A scale gamma and a shift beta behind a linear layer or a layer norm are part of its weights:
``gamma * (W x + b) + beta`` is ``(gamma W) x + (gamma b + beta)``. So in a post-norm model, whose
blocks end in a norm, all of a block's modulation disappears. In a pre-norm model a block ends in a
sum, ``gamma * (x + f(x)) + beta``: gamma and beta go into the last layer of f, and x keeps the
factor gamma, which no layer norm behind it can take up, as it divides by a deviation that depends
on gamma. That one factor is a constant vector of the plain model (``FoldedSettings``), and so are
scale and shift of an embedding that sources, targets and the output layer share.

Shape legend: D d_model, O size of a task embedding.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from taskaware.errors import CheckpointError, UserError
from taskaware.export.merge import merge_adapters
from taskaware.export.one_encoder import (
    reads_by_own_encoder,
    settings_of_one_encoder,
    tensors_of_one_encoder,
)
from taskaware.inference.model import TaskAwareModel
from taskaware.inference.task_embeddings import as_task_embedding, stored_name
from taskaware.model.adapter_settings import AdapterSettings
from taskaware.model.conditioning_settings import ConditioningSettings
from taskaware.model.create_model import create_model
from taskaware.model.modulation import Modulation
from taskaware.model.parts import create_layout
from taskaware.model.undrawn import undrawn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from taskaware.model.folded_settings import FoldedSettings
    from taskaware.model.modulation import PartModulation
    from taskaware.model.settings import ModelSettings
    from taskaware.types import Task

_ENCODER_PARTS = ("self_attention.output", "feed_forward.contract")
_DECODER_PARTS = ("self_attention.output", "cross_attention.output", "feed_forward.contract")


@dataclass(frozen=True, kw_only=True)
class Folded:
    """A plain model of one task.

    Attributes:
        model: The model.
        exactly: What the modulation went into, in words; empty where there was none.
        constants: What is left of it as constant vectors, in words.
    """

    model: TaskAwareModel
    exactly: tuple[str, ...]
    constants: tuple[str, ...]


def fold(model: TaskAwareModel, task_name: str) -> Folded:
    """Return a model of one task that gives the same logits, but for rounding.

    Args:
        model: Any, in evaluation mode; it stays as it is. Adapters of the task are merged first.
        task_name: The task. Only the front end that it needs is kept.

    Raises:
        UnknownTaskError: The model has no such task.
        UserError: What tells the task is not a scale and a shift, or adapters to be merged.
        CheckpointError: The task has no embedding; a UserError where it is none.
    """
    task = model.task(task_name)
    _check(model)
    model = merge_adapters(model, task_name)
    weights = _Weights.of(model, task)
    conditioning = model.settings.conditioning
    if conditioning.has_task_network:
        embedding = _embedding(model, task)
        if conditioning.acts_by == "join":
            plain = settings_of_one_encoder(model.settings, task)
            _shift_memory(weights, plain, embedding[0])
        else:
            _fold_film(weights, model.settings, task, embedding)
        conditioning = ConditioningSettings(cue="none")
    settings = replace(
        settings_of_one_encoder(model.settings, task),
        conditioning=conditioning,
        adapters=AdapterSettings(),  # may be named where no task has any
        attention_bias=model.settings.attention_bias or weights.has_new_biases,
        folded=weights.left,
    )
    return Folded(
        model=_plain(model, task, settings, weights.tensors),
        exactly=tuple(dict.fromkeys(weights.folded)),
        constants=tuple(dict.fromkeys(weights.constants)),
    )


def _check(model: TaskAwareModel) -> None:
    conditioning = model.settings.conditioning
    reason = ""
    if conditioning.has_task_network and conditioning.acts_by == "prepend":
        reason = "reads the task embedding as a vector before source and target"
    elif conditioning.has_task_network and conditioning.bottleneck:
        reason = "has bottlenecks beside its attention, which no plain Transformer has"
    if reason:
        raise UserError(
            "a model must be told its task by scales and shifts (acts_by film or join) to become a "
            f"plain one, but this one {reason}: `--as onnx` takes models told by a task embedding"
        )


def _embedding(model: TaskAwareModel, task: Task) -> Tensor:
    """Return the task's stored t_e, float64 ``[1, O]``."""
    found = model.task_embeddings.get(task.name)
    if found is None:
        raise CheckpointError(
            f"the model must have an embedding of task '{task.name}', but has none: train it on "
            "examples of this task"
        )
    return as_task_embedding(found, model.settings, stored_name(task.name)).cpu().double()


@dataclass
class _Weights:
    """The weights of the plain model as they come to be, float64, and what was done to them."""

    tensors: dict[str, Tensor]
    left: FoldedSettings
    folded: list[str] = field(default_factory=list)
    constants: list[str] = field(default_factory=list)
    has_new_biases: bool = False

    @classmethod
    def of(cls, model: TaskAwareModel, task: Task) -> _Weights:
        kept = f"frontends.{task.source_modality}."
        tensors = tensors_of_one_encoder(model.transformer.state_dict(), model.settings, task)
        left = settings_of_one_encoder(model.settings, task).folded
        is_new = left.source and not model.settings.folded.source
        entrance = "scale and shift of what enters the encoder of texts"
        return cls(
            {
                name: value.detach().cpu().double()
                for name, value in tensors.items()
                if not name.startswith("task_network.")
                and (not name.startswith("frontends.") or name.startswith(kept))
            },
            left,
            constants=[entrance] if is_new else [],
        )

    def into(self, layer: str, gamma_D: Tensor, beta_D: Tensor, *, what: str) -> None:
        """Fold a scale and a shift of what a linear layer or a norm puts out."""
        weight, bias = f"{layer}.weight", f"{layer}.bias"
        if bias not in self.tensors:
            self.has_new_biases = True
            self.tensors[bias] = torch.zeros_like(beta_D)
        factor = gamma_D.view(-1, *[1] * (self.tensors[weight].ndim - 1))
        self.tensors[weight] = factor * self.tensors[weight]
        self.tensors[bias] = gamma_D * self.tensors[bias] + beta_D
        self.folded.append(what)

    def keep(self, name: str, gamma_D: Tensor, beta_D: Tensor, *, what: str) -> None:
        """Keep scale and shift of a sequence as a constant, on top of one that may be there."""
        gamma, beta = f"{name}.gamma", f"{name}.beta"
        earlier = self.tensors.get(gamma, torch.ones_like(gamma_D))
        shift = self.tensors.get(beta, torch.zeros_like(beta_D))
        self.tensors[gamma] = gamma_D * earlier
        self.tensors[beta] = gamma_D * shift + beta_D
        self.constants.append(what)


def _fold_film(
    weights: _Weights, settings: ModelSettings, task: Task, embedding_1O: Tensor
) -> None:
    modulation = Modulation.from_task_embedding(embedding_1O, create_layout(settings))
    _fold_source_side(weights, settings, task, modulation)
    for index in range(settings.num_decoder_layers):
        _fold_parts(weights, f"decoder.{index}", _DECODER_PARTS, modulation.inside_decoder(index))
    first = settings.num_encoder_layers + 1
    gamma_D, beta_D = _at(modulation, first)
    if not _is_neutral(gamma_D, beta_D):
        what = "scale and shift of the embedded target (one table serves the output too)"
        weights.keep("target_film", gamma_D, beta_D, what=what)
        weights.left = replace(weights.left, target=True)
    for index in range(settings.num_decoder_layers):
        _fold_block(weights, settings, "decoder", index, *_at(modulation, first + 1 + index))
    _fill(weights, settings_of_one_encoder(settings, task))


def _fold_source_side(
    weights: _Weights, settings: ModelSettings, task: Task, modulation: Modulation
) -> None:
    plain, first = settings_of_one_encoder(settings, task), 0
    if reads_by_own_encoder(settings, task):
        if modulation.layout.first_place:
            return
        first = settings.num_places_up_to_decoder
    for index in range(plain.num_encoder_layers):
        inside = None if first else modulation.inside_encoder(index)
        _fold_parts(weights, f"encoder.{index}", _ENCODER_PARTS, inside)
    _fold_source(weights, plain, task, *_at(modulation, first))
    for index in range(plain.num_encoder_layers):
        _fold_block(weights, plain, "encoder", index, *_at(modulation, first + index + 1))


def _at(modulation: Modulation, place: int) -> tuple[Tensor, Tensor]:
    """Return gamma and beta ``[D]`` of a place: 1 and 0 where t_e does not act."""
    D = modulation.layout.d_model
    here = torch.ones(1, 1, D, dtype=torch.float64)
    beta_D = modulation.at(torch.zeros_like(here), place)[0, 0]
    return modulation.at(here, place)[0, 0] - beta_D, beta_D


def _is_neutral(gamma_D: Tensor, beta_D: Tensor) -> bool:
    return bool((gamma_D == 1).all()) and bool((beta_D == 0).all())


def _fold_parts(
    weights: _Weights, block: str, parts: Sequence[str], inside: list[PartModulation] | None
) -> None:
    for part, modulation in zip(parts, inside or (), strict=False):
        if modulation.gamma_BD is not None and modulation.beta_BD is not None:
            gamma_D, beta_D = modulation.gamma_BD[0], modulation.beta_BD[0]
            weights.into(
                f"{block}.{part}", gamma_D, beta_D, what="the last layers of the parts of blocks"
            )


def _fold_source(
    weights: _Weights, settings: ModelSettings, task: Task, gamma_D: Tensor, beta_D: Tensor
) -> None:
    if _is_neutral(gamma_D, beta_D):
        return
    projection = f"frontends.{task.source_modality}.projection"
    if f"{projection}.weight" in weights.tensors and not settings.folded.source:
        weights.into(projection, gamma_D, beta_D, what="the projection of the front end")
        return
    reason = "one table serves the output too"
    if not task.modality.is_text:
        reason = "the front end ends in a nonlinearity"
    weights.keep(
        "source_film",
        gamma_D,
        beta_D,
        what=f"scale and shift of the preprocessed source ({reason})",
    )
    weights.left = replace(weights.left, source=True)


def _fold_block(
    weights: _Weights,
    settings: ModelSettings,
    side: str,
    index: int,
    gamma_D: Tensor,
    beta_D: Tensor,
) -> None:
    if _is_neutral(gamma_D, beta_D):
        return
    block = f"{side}.{index}"
    if side == "encoder" and settings.encoder_block == "conformer":
        weights.into(f"{block}.norm", gamma_D, beta_D, what="the last norms of Conformer blocks")
        return
    sizes = settings.of_encoder if side == "encoder" else settings
    if sizes.norm == "post":
        norm = f"{block}.around_feed_forward.norm"
        weights.into(norm, gamma_D, beta_D, what=f"the last norms of the {side}'s blocks")
        return
    contract = f"{block}.feed_forward.contract"
    weights.into(contract, gamma_D, beta_D, what=f"the last layers of the {side}'s blocks")
    if bool((gamma_D == 1).all()):
        return
    name = f"{block}.around_feed_forward.residual_scale"
    earlier = weights.tensors.get(name, torch.ones_like(gamma_D))
    weights.tensors[name] = gamma_D * earlier
    weights.constants.append(
        f"the scale of what a block's last sum in the {side} is given (a pre-norm model has no "
        "norm or layer there that could take it up)"
    )
    weights.left = replace(weights.left, **{f"{side}_residuals": True})


def _fill(weights: _Weights, settings: ModelSettings) -> None:
    """Give every block of a side what some of its blocks need."""
    for side, count in (
        ("encoder", settings.num_encoder_layers),
        ("decoder", settings.num_decoder_layers),
    ):
        if not getattr(weights.left, f"{side}_residuals"):
            continue
        for index in range(count):
            block = f"{side}.{index}"
            like = weights.tensors[f"{block}.feed_forward.contract.bias"]
            scale = f"{block}.around_feed_forward.residual_scale"
            weights.tensors.setdefault(scale, torch.ones_like(like))
    if not weights.has_new_biases:
        return
    for name, weight in list(weights.tensors.items()):
        if "attention." in name and name.endswith(".weight") and ".norm." not in name:
            zeros = torch.zeros(weight.shape[0], dtype=weight.dtype)
            weights.tensors.setdefault(name.replace(".weight", ".bias"), zeros)


def _shift_memory(weights: _Weights, settings: ModelSettings, embedding_D: Tensor) -> None:
    """Fold what is added to every position of the encoder's output."""
    last = f"encoder.{settings.num_encoder_layers - 1}"
    if "bridge.norm.bias" in weights.tensors:
        norm = "bridge.norm"
    elif "encoder_norm.bias" in weights.tensors:
        norm = "encoder_norm"
    elif settings.encoder_block == "conformer":
        norm = f"{last}.norm"
    else:
        norm = f"{last}.around_feed_forward.norm"
    ones = torch.ones_like(embedding_D)
    weights.into(norm, ones, embedding_D, what="the encoder's last norm")


def _plain(
    model: TaskAwareModel, task: Task, settings: ModelSettings, tensors: dict[str, Tensor]
) -> TaskAwareModel:
    with undrawn():
        transformer = create_model(settings, vocabulary_size=model.vocabulary.size, tasks=(task,))
    wanted = next(model.transformer.parameters())
    transformer.to(dtype=wanted.dtype)
    transformer.load_state_dict({name: value.to(wanted.dtype) for name, value in tensors.items()})
    longest = model.longest_sources.get(task.name)
    return TaskAwareModel(
        transformer=transformer.to(wanted.device).eval(),
        settings=settings,
        tasks=(task,),
        vocabulary=model.vocabulary,
        feature_settings=model.feature_settings,
        decoding=model.decoding,
        provenance={**model.provenance, "plain_for_task": task.name},
        longest_sources={} if longest is None else {task.name: longest},
    )
