"""What a study found, as plain data that tables, figures and pages are made of.

A list "by seed" has one value for each seed of the study, in the order of ``StudyResults.seeds``.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

    from taskaware.evaluation.metrics import Metric


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Mean and sample standard deviation over the seeds; no deviation where there is one seed."""

    mean: float
    deviation: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return the spread of at least one value."""
        deviation = statistics.stdev(values) if len(values) > 1 else None
        return cls(mean=statistics.fmean(values), deviation=deviation)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """What a row reaches on one task, or on one corpus of it.

    Attributes:
        metric: The task's main metric.
        values: By seed; ``wer`` and ``cer`` in percent, ``bleu`` from 0 to 100.
        points: By seed; the same on one scale: 0 to 100, 100 is best (``Score.points``).
        confusion_rates: By seed; empty where no other task shares the inputs.
        p_values: By seed: significance of the difference to the row that it is compared with
            (paired bootstrap); empty where it is compared with none.
        num_examples: Decoded examples of a seed.
    """

    metric: Metric
    values: tuple[float, ...]
    points: tuple[float, ...]
    confusion_rates: tuple[float, ...] = ()
    p_values: tuple[float, ...] = ()
    num_examples: int = 0


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of the table: a way to learn, over all seeds.

    Attributes:
        label: What the table calls it.
        cells: By task; a task that the row does not have is absent.
        by_dataset: By task and then corpus, where a task is tested on several.
        against: The label of the row that it is compared with, or empty.
        num_models: Models that together make the row (a model a task: several).
        parameters: Of one model, by part.
        task_parameters: Those of ``parameters`` that make it task-aware: the task network.
        parameters_of_one_task: Those that one task has alone: of several models, all of the first;
            ``None`` where it is not known.
        num_bytes: On disk, of all the row's models (their folders); ``None`` where it is not known.
        updates: Updates of training that led to the row, its starts included.
        seconds: By seed: training time in seconds, its starts included.
        decoding_seconds: By seed: of decoding the split in all its tasks; empty where it is not
            known.
        peak_memory_mib: Largest resident memory of any of its processes (MiB); on a CUDA device,
            memory that torch allocated there.
        silhouettes: By seed: how well the task embeddings stand apart (-1 to 1); empty where there
            are none.
        paper: What the paper reports, by kind of task or by task, as printed there.
        note: A remark for the reader.
    """

    label: str
    cells: Mapping[str, Cell]
    by_dataset: Mapping[str, Mapping[str, Cell]] = field(default_factory=dict)
    against: str = ""
    num_models: int = 1
    parameters: Mapping[str, int] = field(default_factory=dict)
    task_parameters: int = 0
    parameters_of_one_task: int | None = None
    num_bytes: int | None = None
    updates: int = 0
    seconds: tuple[float, ...] = ()
    decoding_seconds: tuple[float, ...] = ()
    peak_memory_mib: float = 0.0
    silhouettes: tuple[float, ...] = ()
    paper: Mapping[str, str] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class ForgettingMatrix:
    """Every task's points after every stage of training.

    Attributes:
        label: Which way of learning it is.
        stages: What was trained, in order, e.g. ``("joint", "then ST", "then ASR")``.
        trained: For each stage, the tasks that it trained.
        tasks: The columns.
        points: Stage -> task -> by seed, 0 to 100.
        confusion: Stage -> task -> by seed; a task without a rate is absent.
        average_forgetting: By seed (``evaluation.forgetting.average_forgetting``), in points.
        backward_transfer: By seed (``evaluation.forgetting.backward_transfer``), in points.
    """

    label: str
    stages: tuple[str, ...]
    trained: tuple[tuple[str, ...], ...]
    tasks: tuple[str, ...]
    points: Sequence[Mapping[str, tuple[float, ...]]]
    confusion: Sequence[Mapping[str, tuple[float, ...]]]
    average_forgetting: tuple[float, ...]
    backward_transfer: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class EmbeddingFigure:
    """Task embeddings of single test examples, projected to two dimensions (Figure 2).

    Attributes:
        title: What is shown.
        points: float32 ``[N, 2]``.
        tasks: The task of each point.
        datasets: The corpus of each point.
        colour_by: What the colours mean; the markers show the other.
        task_silhouette: How well tasks stand apart in the whole space.
        dataset_silhouettes: The same for the corpora inside a task, by task; a task of one corpus
            is absent.
    """

    title: str
    points: np.ndarray
    tasks: tuple[str, ...]
    datasets: tuple[str, ...]
    colour_by: str = "task"
    task_silhouette: float | None = None
    dataset_silhouettes: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class LearningCurve:
    """The training loss of one run on one task.

    Attributes:
        run: The run's name.
        task: The task's name.
        updates: When it was measured, ascending, the same for all seeds.
        losses: By seed, each as long as ``updates`` (nats a target piece).
    """

    run: str
    task: str
    updates: tuple[int, ...]
    losses: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, kw_only=True)
class StudyResults:
    """All that a study found.

    Attributes:
        name: The study's name.
        title: What its page is called.
        question: What it asks, in a sentence.
        size: ``tiny``, ``small``, ``paper``, or another of the study's sizes.
        command: What anyone types to see it again.
        split: Which split was scored.
        seeds: The seeds that are finished in every row.
        tasks: Columns, in order: task name to kind (``asr``, ``st``, ``mt``, ...).
        rows: In order.
        signatures: Metric to how it was computed; where tasks differ, each with its tasks.
        warnings: What scores say little, and why, a sentence each.
        matrices: Forgetting.
        embeddings: Figure 2.
        curves: Learning curves.
        provenance: Name to value: machine, versions, data, time.
        synthetic: Whether the data is synthetic; tables and pages say so at the top.
    """

    name: str
    title: str
    question: str
    size: str
    command: str
    split: str
    seeds: tuple[int, ...]
    tasks: Mapping[str, str]
    rows: tuple[Row, ...]
    signatures: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    matrices: tuple[ForgettingMatrix, ...] = ()
    embeddings: tuple[EmbeddingFigure, ...] = ()
    curves: tuple[LearningCurve, ...] = ()
    provenance: Mapping[str, str] = field(default_factory=dict)
    synthetic: bool = False
