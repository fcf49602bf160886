"""One training update: what is measured, and the contestants.

Measured: gradients cleared, forward with dropout, label-smoothed cross-entropy (0.1) over the valid
target positions, backward, the gradient's norm clipped to 1, a fused Adam step. The batch is on the
device already. Ours runs the functions that ``taskaware train`` runs, the FiLM penalty among them;
theirs gets the same loss from ``torch.nn.functional.cross_entropy``, the same optimiser and
clipping.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any
from unittest import mock

import torch
import torch.nn.functional as F
from contestants import (
    PAD,
    THEIR_PAD_LABEL,
    Sizes,
    num_parameters,
    our_model,
    source_mask,
    synthetic_batch,
    their_model,
    their_text_model,
)
from timing import Contestant
from torch import nn

from taskaware.model import frontend, transformer
from taskaware.model.packing import AS_IT_IS
from taskaware.training.joint import LossArguments, Support, batch_loss, derangement
from taskaware.training.optimiser import create_optimiser
from taskaware.training.settings import ObjectiveSettings, OptimiserSettings
from taskaware.training.step import autocast

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from taskaware.model.conditioning_settings import Cue
    from taskaware.model.transformer import TaskAwareTransformer
    from taskaware.types import Batch

LABEL_SMOOTHING = 0.1
MAX_GRADIENT_NORM = 1.0
CUES: dict[str, Cue] = {"vanilla": "none", "explicit": "explicit", "implicit": "implicit"}


def contestants(sizes: Sizes, *, device: torch.device, precision: str) -> list[Contestant]:
    """Return theirs, then ours with no and each task network, for 4 and for 8 frames a position."""
    batch = synthetic_batch(sizes, device=device)
    found = [theirs(sizes, batch, device, precision)]
    for num_cnn_layers in (2, 3):
        for name, cue in CUES.items():
            found.append(
                ours(sizes, batch, device, precision, name, cue=cue, num_cnn_layers=num_cnn_layers)
            )
    return found


def ours(
    sizes: Sizes,
    batch: Batch,
    device: torch.device,
    precision: str,
    name: str,
    *,
    cue: Cue,
    num_cnn_layers: int,
    like_theirs: bool = False,
    compiled: bool = False,
    padded: bool = False,
) -> Contestant:
    model = our_model(
        sizes,
        cue=cue,
        num_cnn_layers=num_cnn_layers,
        task=batch.task,
        like_theirs=like_theirs,
    )
    model = model.to(device).train()
    if compiled:
        for block in (*model.encoder, *model.decoder):
            block.compile(dynamic=True)
    run = our_update(model, batch, device, precision, cue=cue)

    def run_padded() -> None:
        with (
            mock.patch.object(transformer, "packing_that_pays", return_value=AS_IT_IS),
            mock.patch.object(frontend, "_PART_FRAMES", sys.maxsize),
        ):
            run()

    return Contestant(
        name=f"taskaware, {name}",
        frames_per_position=1 if batch.task.source_modality == "text" else 2**num_cnn_layers,
        num_parameters=num_parameters(model),
        run=run_padded if padded else run,
    )


def our_update(
    model: TaskAwareTransformer, batch: Batch, device: torch.device, precision: str, *, cue: Cue
) -> Callable[[], None]:
    """Return what does an update of a model of ours, on the device and in training mode."""
    optimiser = create_optimiser(OptimiserSettings(learning_rate=1e-4), model)
    objective = ObjectiveSettings(label_smoothing=LABEL_SMOOTHING, ctc_weight=0.0)
    generator = torch.Generator().manual_seed(0)

    def run() -> None:
        optimiser.zero_grad(set_to_none=True)
        rows = None if cue == "none" else derangement(batch.num_examples, generator)
        with autocast(device, precision):
            loss = batch_loss(
                model,
                batch,
                Support(batch, rows),
                LossArguments(
                    task_index=0,
                    gradient_reaches_shared_layers=False,
                    objective=objective,
                ),
            )
        loss.total.backward()
        nn.utils.clip_grad_norm_(model.parameters(), MAX_GRADIENT_NORM)
        optimiser.step()

    return run


def theirs(sizes: Sizes, batch: Batch, device: torch.device, precision: str) -> Contestant:
    """Return Hugging Face's Speech2Text, or Marian where the batch is one of texts."""
    is_text = batch.task.source_modality == "text"
    model: Any = (their_text_model if is_text else their_model)(sizes).to(device).train()
    source = {"input_ids" if is_text else "input_features": batch.source}
    mask = source_mask(batch)
    labels = padded_labels(batch)

    def loss() -> Tensor:
        logits = model(
            **source, attention_mask=mask, decoder_input_ids=batch.target_input, use_cache=False
        ).logits
        return smoothed_cross_entropy(logits, labels)

    name, frames = ("Marian", 1) if is_text else ("Speech2Text", 4)
    return peer(model, loss, device, precision, name=f"Hugging Face {name}", frames=frames)


def padded_labels(batch: Batch) -> Tensor:
    """Return the targets, int64 ``[B, T]``, as `smoothed_cross_entropy` wants their padding."""
    return batch.target_output.masked_fill(batch.target_output == PAD, THEIR_PAD_LABEL)


def smoothed_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return torch's own label-smoothed loss, the mean over the labels that are no padding."""
    return F.cross_entropy(
        logits.flatten(0, 1),
        labels.flatten(),
        ignore_index=THEIR_PAD_LABEL,
        label_smoothing=LABEL_SMOOTHING,
    )


def peer(
    model: nn.Module,
    loss: Callable[[], Tensor],
    device: torch.device,
    precision: str,
    *,
    name: str,
    frames: int,
) -> Contestant:
    """Return an update of another library's model, with the optimiser and clipping of ours.

    Args:
        model: On the device, in training mode.
        loss: Computes the loss of the batch, forward pass and all.
        device: Where it is computed.
        precision: `float32`, or `bfloat16` by autocast.
        name: Its row in the table.
        frames: Frames a position of its encoder; 1 for texts.
    """
    defaults = OptimiserSettings()
    optimiser = torch.optim.AdamW(
        model.parameters(),
        lr=1e-4,
        betas=(defaults.beta1, defaults.beta2),
        eps=defaults.epsilon,
        weight_decay=defaults.weight_decay,
        fused=True,
    )

    def run() -> None:
        optimiser.zero_grad(set_to_none=True)
        with autocast(device, precision):
            value = loss()
        value.backward()
        nn.utils.clip_grad_norm_(model.parameters(), MAX_GRADIENT_NORM)
        optimiser.step()

    return Contestant(
        name=name, frames_per_position=frames, num_parameters=num_parameters(model), run=run
    )
