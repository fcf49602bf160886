"""How good a run is so far: dev loss and dev score, task by task."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from taskaware.data.batching import batches_of, cut_batches
from taskaware.decoding.scoring import DecodingSettings
from taskaware.evaluation.evaluate import evaluate, spread
from taskaware.inference import TaskAwareModel
from taskaware.training.joint import transformed_loss
from taskaware.training.loop import Validation
from taskaware.training.settings import ObjectiveSettings
from taskaware.training.step import autocast

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import Tensor

    from taskaware.runs import Run
    from taskaware.types import Batch, Task

# A validation measures the model, not the regularisation of its training.
_PLAIN = ObjectiveSettings(label_smoothing=0.0, film_penalty=0.0, ctc_weight=0.0)


@torch.inference_mode()
def validate(run: Run) -> Validation:
    """Return the dev loss of each task, and the dev score where the run selects by it."""
    settings = run.experiment.training
    name = run.experiment.data.dev_split
    if name not in run.data.split_names:
        return Validation(values={})
    embeddings = run.task_embeddings(run.model)
    values: dict[str, float] = {}
    for task in run.trained_tasks:
        total, count = 0.0, 0
        for batch in _dev_batches(run, task, name):
            batch = batch.to(run.processes.device)
            with autocast(run.processes.device, settings.precision):
                loss = transformed_loss(
                    run.model,
                    batch,
                    run.model.preprocess(batch),
                    embeddings.get(task.name),
                    objective=_PLAIN,
                )
            total += float(loss.cross_entropy) * loss.num_pieces
            count += loss.num_pieces
        if count:
            values[task.name] = total / count
    if settings.selection == "loss":
        return Validation(values=values)
    scores = _dev_scores(run, embeddings, name)
    worse = {task: 1.0 - score for task, score in scores.items()}
    return Validation(values=worse, scores=scores)


def _dev_batches(run: Run, task: Task, split_name: str) -> Iterator[Batch]:
    split = run.data.split(split_name)
    indices = spread(split.indices(task.name), run.experiment.training.validation_examples)
    indices = indices[np.argsort(split.source_lengths[indices], kind="stable")]
    groups = cut_batches(
        indices,
        split.source_lengths,
        split.target_lengths,
        is_text=task.source_modality == "text",
        settings=replace(run.experiment.batching, strategy="dynamic"),
    )
    return batches_of(
        split,
        task,
        groups,
        vocabulary=run.data.vocabulary,
        cue=run.experiment.model.conditioning.cue,
    )


def _dev_scores(run: Run, embeddings: Mapping[str, Tensor], split_name: str) -> dict[str, float]:
    """Return 1 - word error rate, or BLEU / 100, of greedy outputs, at least 0, by task."""
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
    results = evaluate(
        model,
        run.data.split(split_name),
        run.trained_tasks,
        limit=experiment.training.validation_examples,
    )
    return {result.task: result.scores[0].points / 100.0 for result in results}
