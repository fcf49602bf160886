"""What a run learns from: its endless batches."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from taskaware.data.batches.batching import text_cue
from taskaware.data.batches.reader import TrainingReader
from taskaware.data.batches.stream import TrainingBatches
from taskaware.errors import ExperimentError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from taskaware.data.batches.batching import TextCue
    from taskaware.data.batches.settings import BatchingSettings
    from taskaware.run.run import Run
    from taskaware.types import Task


def training_batches(run: Run) -> TrainingBatches:
    """Return the endless updates of a run.

    Raises:
        ExperimentError: Signals are to be changed, but the data hold features only.
    """
    experiment = run.experiment
    split = run.data.split(experiment.data.train_split)
    takes_speech = any(task.modality.is_recording for task in run.trained_tasks)
    if experiment.augmentation.changes_signal and takes_speech and not run.data.stores_audio:
        raise ExperimentError(
            "`augmentation.share` must be 0 where the data hold features only, but is "
            f"{experiment.augmentation.share}; prepare {run.data.folder} with `--store audio`"
        )
    reader = TrainingReader(split, experiment.augmentation, seed=experiment.training.seed)
    return TrainingBatches(
        split,
        reader,
        run.trained_tasks,
        batching_settings(run),
        cues=cues(run, run.trained_tasks),
        seed=experiment.training.seed,
        rank=run.processes.rank,
        num_ranks=run.processes.num_ranks,
        batches_per_task=experiment.learning.batches_per_task,
        changed_lengths=reader.changed_lengths if experiment.augmentation.changes_signal else None,
    )


def batching_settings(run: Run) -> BatchingSettings:
    """Return how to make batches, without examples that no task network looks at."""
    has_vectors = run.experiment.start.trains == "task_embedding"
    if run.experiment.model.conditioning.looks_at_cue_examples and not has_vectors:
        return run.experiment.batching
    return replace(run.experiment.batching, cue_examples=0)


def cues(run: Run, tasks: Sequence[Task]) -> dict[str, TextCue]:
    """Return what tells each task to a model that is told by a text or a tag, by task."""
    cue = run.experiment.model.conditioning.cue
    return {task.name: text_cue(run.data.vocabulary, task, cue) for task in tasks}
