"""How good a run is so far: dev loss and dev score, task by task."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from taskaware.data.batches.batching import batches_of, cut_batches
from taskaware.decoding.settings import DecodingSettings
from taskaware.evaluation.evaluate import evaluate, spread
from taskaware.inference.model import TaskAwareModel
from taskaware.model.parts import initial_task_embedding
from taskaware.training.joint import transformed_loss
from taskaware.training.loop import Validation
from taskaware.training.settings import ObjectiveSettings
from taskaware.training.step import autocast

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import Tensor

    from taskaware.evaluation.evaluate import TaskResult
    from taskaware.evaluation.metrics import Score
    from taskaware.run.run import Run
    from taskaware.training.joint import TaskLoss
    from taskaware.types import Batch, Task

# Of equal scores the lower loss is better. So small a share of it does not outweigh a score: one
# word more that is right, of 10,000 words in each of 100 tasks, is 1e-6.
_LOSS_SHARE = 1e-9
# A validation measures the model, not the regularisation of its training.
_PLAIN = ObjectiveSettings(label_smoothing=0.0, film_penalty=0.0, ctc_weight=0.0)
# Two task embeddings are the same where their distance is a smaller share of the way that they have
# come since training began.
_SAME = 0.05
_WITH_CTC = replace(_PLAIN, ctc_weight=1.0)


@torch.inference_mode()
def validate(run: Run) -> Validation:
    """Return the dev loss of each task, and the dev score where the run selects by it."""
    settings = run.experiment.training
    name = run.experiment.data.dev_split
    if name not in run.data.split_names:
        return Validation(values={})
    embeddings = run.task_embeddings(run.model)
    values, ctc = _losses_by_task(run, name, embeddings)
    trained = {t.name: embeddings[t.name] for t in run.trained_tasks if t.name in embeddings}
    alike = same_task_embeddings(trained, initial_task_embedding(run.experiment.model))
    if settings.selection == "loss":
        return Validation(values=values, ctc_losses=ctc, remarks=alike)
    results = _dev_results(run, embeddings, name)
    found = validation_by_score({r.task: r.scores[0] for r in results}, values)
    return replace(found, ctc_losses=ctc, remarks=(*found.remarks, *alike))


@torch.inference_mode()
def mean_dev_loss(run: Run) -> float:
    """Return the mean of the dev losses of all tasks, nats a piece; NaN where there is no dev."""
    values = dev_losses(run)
    return sum(values.values()) / len(values) if values else math.nan


@torch.inference_mode()
def dev_losses(run: Run) -> dict[str, float]:
    """Return the mean dev loss of each task, nats a piece; of none where there is no dev."""
    name = run.experiment.data.dev_split
    if name not in run.data.split_names:
        return {}
    return _losses_by_task(run, name, run.task_embeddings(run.model))[0]


def _losses_by_task(
    run: Run, name: str, embeddings: Mapping[str, Tensor]
) -> tuple[dict[str, float], dict[str, float]]:
    """Return the mean dev loss of each task, and of CTC where that counts in training."""
    values: dict[str, float] = {}
    ctc: dict[str, float] = {}
    for task in run.trained_tasks:
        losses = list(_dev_losses(run, task, name, embeddings.get(task.name)))
        count = sum(loss.num_pieces for loss in losses)
        if count:
            sums = sum(float(loss.cross_entropy) * loss.num_pieces for loss in losses)
            values[task.name] = sums / count
        if any(loss.ctc for loss in losses):
            sums = sum(float(loss.ctc[task.name]) * loss.num_pieces for loss in losses)
            ctc[task.name] = sums / count
    return values, ctc


def same_task_embeddings(embeddings: Mapping[str, Tensor], initial: Tensor) -> tuple[str, ...]:
    """Say which tasks the task network does not tell apart: their t_e are the same.

    An implicit network can end so, and stays so once the ReLU of its last hidden layer is shut for
    all examples (docs/log.md).

    Args:
        embeddings: The mean t_e of each task, ``[1, O]``.
        initial: What t_e was before training, ``[O]``.
    """
    same: dict[str, None] = {}
    for (name, left), (other, right) in itertools.combinations(embeddings.items(), 2):
        way = float((left - initial.to(left.device)).norm())
        if float((left - right).norm()) < _SAME * way:
            same |= dict.fromkeys((name, other))
    if not same:
        return ()
    return (
        f"the task embeddings of {', '.join(same)} are the same: the task network does not tell "
        "these tasks apart, and where their sources do not either, their outputs are mixed up. If "
        "later validations say so too (log.jsonl), start anew with another `training.seed`, a "
        "lower `optimiser.learning_rate`, `batching.cue_examples = 0` or the cue 'explicit'",
    )


def _dev_losses(
    run: Run, task: Task, split_name: str, task_embedding: Tensor | None
) -> Iterator[TaskLoss]:
    experiment = run.experiment
    objective = _WITH_CTC if experiment.objective.ctc_weight else _PLAIN
    for batch in _dev_batches(run, task, split_name):
        batch = batch.to(run.processes.device)
        with autocast(run.processes.device, experiment.training.precision):
            preprocessed = run.model.preprocess(batch)
            loss = transformed_loss(
                run.model, batch, preprocessed, task_embedding, objective=objective
            )
        yield loss


def validation_by_score(scores: Mapping[str, Score], losses: Mapping[str, float]) -> Validation:
    """Return a validation whose values say: the higher score, and of equal scores the lower loss.

    So a score that is the same at every validation leaves the choice to the loss: one that is
    constant, or cut off at a bound (BLEU 0, an error rate of 100 % or more).

    Args:
        scores: The main score of each task.
        losses: The dev loss of each task (nats a piece).
    """
    points = {task: score.points for task, score in scores.items()}
    worse = {
        task: 1.0 - value / 100.0 + _LOSS_SHARE * losses.get(task, 0.0)
        for task, value in points.items()
    }
    bound = [task for task, value in points.items() if value == 0.0 or value >= 100.0]
    remarks = [f"{task}: {score.warning}" for task, score in scores.items() if score.warning]
    if bound:
        remarks.append(
            f"the dev score of {', '.join(bound)} is at the end of its scale and tells nothing: "
            "where scores are equal, the lower dev loss is better"
        )
    return Validation(values=worse, scores=points, losses=dict(losses), remarks=tuple(remarks))


def _dev_batches(run: Run, task: Task, split_name: str) -> Iterator[Batch]:
    split = run.data.split(split_name)
    indices = spread(split.indices(task.name), run.experiment.training.validation_examples)
    indices = indices[np.argsort(split.source_lengths[indices], kind="stable")]
    groups = cut_batches(
        indices,
        split.source_lengths,
        split.target_lengths,
        is_text=task.modality.is_text,
        settings=replace(run.experiment.batching, strategy="dynamic"),
    )
    return batches_of(
        split,
        task,
        groups,
        vocabulary=run.data.vocabulary,
        cue=run.experiment.model.conditioning.cue,
    )


def _dev_results(run: Run, embeddings: Mapping[str, Tensor], split_name: str) -> list[TaskResult]:
    """Return the results of greedy outputs."""
    experiment = run.experiment
    model = TaskAwareModel(
        transformer=run.model,
        settings=experiment.model,
        tasks=run.tasks,
        vocabulary=run.data.vocabulary,
        feature_settings=run.data.feature_settings,
        decoding=DecodingSettings(beam=1, examples_per_batch=64),
        task_embeddings=embeddings,
    )
    return evaluate(
        model,
        run.data.split(split_name),
        run.trained_tasks,
        limit=experiment.training.validation_examples,
    )
