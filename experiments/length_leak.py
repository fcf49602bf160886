"""What a task embedding says of an example's length, where batches are of examples of one length.

::

    python experiments/length_leak.py runs/multi30k_implicit --data runs/multi30k/data

In training an example is modulated by the t_e of another example of its batch. Where batches hold
examples of about the same length, that t_e tells the length of source and target, and a model may
learn to read it there; in use it gets the mean t_e of the task, which tells nothing of the kind.
Prints the dev loss (nats a piece) of a trained model by whose t_e each example is modulated by: the
mean that is stored with the model; any other dev example's; a neighbour's in a batch of the
run's own kind. The last below the others is what the model reads from its neighbours.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from taskaware.data.batches.batching import batches_of, plan
from taskaware.data.prepared import PreparedData
from taskaware.inference.data_fit import require_tasks
from taskaware.inference.model import load
from taskaware.model.task_embedding import example_task_embeddings
from taskaware.run import experiment as experiment_file
from taskaware.training.joint import derangement, transformed_loss
from taskaware.training.settings import ObjectiveSettings

if TYPE_CHECKING:
    from torch import Tensor

    from taskaware.data.batches.settings import BatchingSettings
    from taskaware.inference import TaskAwareModel
    from taskaware.types import Batch

PLAIN = ObjectiveSettings(label_smoothing=0.0, film_penalty=0.0, ctc_weight=0.0)


def main() -> None:
    """Print a line for each task."""
    parser = argparse.ArgumentParser(description="Dev loss by whose task embedding is used.")
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    arguments = parser.parse_args()
    model, data = load(arguments.run), PreparedData.open(arguments.data)
    batching = experiment_file.load(arguments.run / "experiment.toml").batching
    print(f"{'task':12}{'mean':>8}{'any':>8}{'neighbour':>11}")
    for task in require_tasks(model, data, ()):
        losses = dev_losses(model, data, task.name, batching)
        print(f"{task.name:12}{losses[0]:8.3f}{losses[1]:8.3f}{losses[2]:11.3f}", flush=True)


@torch.inference_mode()
def dev_losses(
    model: TaskAwareModel, data: PreparedData, task_name: str, batching: BatchingSettings
) -> list[float]:
    """Return the dev loss with the mean t_e, that of any other example, and that of a neighbour."""
    batches = dev_batches(model, data, task_name, batching)
    index = [task.name for task in model.tasks].index(task_name)
    found = example_task_embeddings(model.transformer, batches, task_index=index)
    if found is None:
        raise SystemExit("the model must have a task network, but has none")
    generator = torch.Generator().manual_seed(0)
    anyone = found[derangement(len(found), generator)]
    totals, pieces, start = [0.0, 0.0, 0.0], 0, 0
    for batch in batches:
        here = slice(start, start + batch.num_examples)
        start = here.stop
        neighbours = found[here][derangement(batch.num_examples, generator)]
        embeddings = model.task_embeddings[task_name], anyone[here], neighbours
        for i, embedding in enumerate(embeddings):
            totals[i] += loss(model, batch, embedding)
        pieces += int(batch.target_lengths.sum())
    return [total / pieces for total in totals]


def dev_batches(
    model: TaskAwareModel, data: PreparedData, task_name: str, batching: BatchingSettings
) -> list[Batch]:
    """Return the dev examples of a task in batches as the run made them of train."""
    split, task = data.split("dev"), model.task(task_name)
    indices = split.indices(task_name)
    planned = plan(
        indices,
        (split.source_lengths[indices], split.target_lengths[indices]),
        is_text=task.source_modality == "text",
        settings=batching,
        random=np.random.default_rng(0),
    )
    found = batches_of(
        split, task, planned, vocabulary=data.vocabulary, cue=model.settings.conditioning.cue
    )
    return list(found)


def loss(model: TaskAwareModel, batch: Batch, embedding: Tensor) -> float:
    """Return the summed cross-entropy of a batch under task embeddings."""
    network = model.transformer
    found = transformed_loss(network, batch, network.preprocess(batch), embedding, objective=PLAIN)
    return float(found.cross_entropy) * found.num_pieces


if __name__ == "__main__":
    main()
