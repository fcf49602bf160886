"""The weighted mean of the weights that a run began with and of those that it has learnt (WiSE-FT).

Fine-tuning gains a task and loses others; on the way from the first weights to the last ones lie
models that keep most of both (Wortsman et al. 2022, arXiv:2109.01903, equation 1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from taskaware.model.create_model import create_model
from taskaware.model.task_network import TASK_NETWORK
from taskaware.model.undrawn import undrawn
from taskaware.run.idle_settings import Remark
from taskaware.run.start import weights_for
from taskaware.run.validation import dev_losses
from taskaware.training.tensors import weights

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from taskaware.run.run import Run


def mixed_with_start(run: Run, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Return weights of which ``start.share`` is the start's; frozen ones stay to the bit.

    Where the start has no explicit task network, what a new one begins with is known: it modulates
    nothing. Other parts that the start does not have began at random, and stay as they are.

    Args:
        run: The run.
        tensors: Trained weights of its model.
    """
    share = run.experiment.start.share
    if not share or run.start is None:
        return tensors
    with undrawn():  # what would be drawn is not mixed
        new_model = create_model(
            run.experiment.model, vocabulary_size=run.data.vocabulary.size, tasks=run.tasks
        )
    begun = weights_for(run.start, new_model)
    is_explicit = run.experiment.model.conditioning.cue == "explicit"
    mixed: dict[str, Tensor] = {}
    for name, value in tensors.items():
        first = begun[name].to(value)
        is_known = name in run.start.tensors or (is_explicit and name.startswith(TASK_NETWORK))
        # The mean of two -0.0 is 0.0: other bytes, and with them another digest of the encoder.
        is_mixed = is_known and not torch.equal(value, first)
        mixed[name] = torch.lerp(value, first, share) if is_mixed else value
    return mixed


def remark_on_share(run: Run, tensors: Mapping[str, Tensor]) -> Remark:
    """Return what the start's share costs and gains on dev.

    Args:
        run: The run, which has a start.
        tensors: The trained weights that become its model.
    """
    share = run.experiment.start.share
    own = weights(run.model)
    run.model.eval()
    found: list[dict[str, float]] = []
    for candidate in (mixed_with_start(run, tensors), tensors):
        run.model.load_state_dict(candidate)
        found.append(dev_losses(run))
    run.model.load_state_dict(own)
    mixed, trained = found
    text = f"`start.share` is {share:g}: so much of the weights of every model is the start's"
    if mixed:
        losses = "  ".join(f"{name} {mixed[name]:.3f} ({trained[name]:.3f})" for name in mixed)
        text += f"; dev loss, and in brackets without it: {losses}"
    figures = {
        f"{name} {what}": v
        for what, by in (("mixed", mixed), ("trained", trained))
        for name, v in by.items()
    }
    return Remark(about="start.share", figures={"share": share} | figures, text=text)
