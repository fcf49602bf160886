"""A made-up study, small enough to compute its tables by hand."""

from __future__ import annotations

from typing import Any

import numpy as np

from taskaware.study.results import (
    Cell,
    EmbeddingFigure,
    ForgettingMatrix,
    LearningCurve,
    Row,
    StudyResults,
)

TASKS = {"asr_en": "asr", "st_en_de": "st", "mt_en_de": "mt"}
HOSTILE = "<script>alert('x')</script> | \"&\n$a_b$ *bold*"


def wer(*fractions: float, **fields: Any) -> Cell:
    values = tuple(100 * fraction for fraction in fractions)
    points = tuple(max(0.0, 100 - value) for value in values)
    return Cell(metric="wer", values=values, points=points, num_examples=300, **fields)


def bleu(*values: float, **fields: Any) -> Cell:
    return Cell(metric="bleu", values=values, points=values, num_examples=300, **fields)


def rows() -> tuple[Row, ...]:
    plain = Row(
        label="vanilla",
        cells={
            "asr_en": wer(0.4, 0.5, 0.6, confusion_rates=(0.4, 0.5, 0.45)),
            "st_en_de": bleu(40.0, 41.0, 42.0, confusion_rates=(0.5, 0.4, 0.3)),
            "mt_en_de": bleu(98.0, 99.0, 100.0),
        },
        parameters={"encoder": 1_000_000, "decoder": 234_567},
        updates=2000,
        seconds=(590.0, 600.0, 610.0),
        peak_memory_mib=1234.4,
        paper={"asr": "14.83", "st": "0.81"},
    )
    sure, unsure = (0.001, 0.002, 0.049), (0.001, 0.002, 0.05)
    tag = Row(
        label="tag",
        cells={
            "asr_en": wer(0.02, 0.03, 0.04, confusion_rates=(0.0, 0.0, 0.0), p_values=sure),
            "st_en_de": bleu(90.0, 90.04, 90.08, confusion_rates=(0.0, 0.01, 0.02), p_values=sure),
            "mt_en_de": bleu(99.0, 99.0, 99.0, p_values=unsure),
        },
        against="vanilla",
        note="A first token.",
    )
    implicit = Row(
        label="implicit",
        cells={
            "asr_en": wer(0.01, 0.01, 0.01, confusion_rates=(0.0, 0.0, 0.0003), p_values=sure),
            "st_en_de": bleu(90.0, 90.0, 90.0, confusion_rates=(0.0, 0.0, 0.0), p_values=unsure),
            # Significant in every seed, but not always the same way.
            "mt_en_de": bleu(99.0, 98.0, 99.5, p_values=sure),
        },
        by_dataset={"st_en_de": {"grammar": bleu(95.0, 95.0, 95.0), "talks": bleu(1.0, 2.0, 3.0)}},
        against="vanilla",
        parameters={"encoder": 1_000_000, "task network": 500},
        task_parameters=500,
        parameters_of_one_task=0,
        silhouettes=(0.6, 0.7, 0.8),
        paper={"asr": "11.61", "st": "28.64"},
    )
    alone = Row(
        label="speech alone",
        cells={"asr_en": wer(0.02, 0.02, 0.02)},
        num_models=3,
        parameters_of_one_task=1_234_567,
        num_bytes=3 * 4_938_268,
        decoding_seconds=(5.0, 6.0, 7.0),
    )
    return plain, tag, implicit, alone


def matrix() -> ForgettingMatrix:
    return ForgettingMatrix(
        label="implicit",
        stages=("joint", "then speech"),
        trained=(tuple(TASKS), ("asr_en",)),
        tasks=tuple(TASKS),
        points=[
            {"asr_en": (90.0, 91.0, 92.0), "st_en_de": (80.0, 80.0, 80.0)},
            {"asr_en": (95.0, 95.0, 95.0), "st_en_de": (10.0, 20.0, 30.0), "mt_en_de": (7.0,) * 3},
        ],
        confusion=[{}, {"st_en_de": (0.8, 0.9, 1.0)}],
        average_forgetting=(70.0, 60.0, 50.0),
        backward_transfer=(-70.0, -60.0, -50.0),
    )


def embeddings(title: str = "implicit") -> EmbeddingFigure:
    tasks = ("asr_en", "asr_en", "st_en_de", "st_en_de", "st_en_de")
    datasets = ("grammar", "talks", "grammar", "talks", "talks")
    points = np.arange(10, dtype=np.float32).reshape(5, 2)
    return EmbeddingFigure(
        title=title,
        points=points,
        tasks=tasks,
        datasets=datasets,
        task_silhouette=0.625,
        dataset_silhouettes={"st_en_de": -0.111},
    )


def curves(*runs: str) -> tuple[LearningCurve, ...]:
    losses = ((4.0, 2.0), (5.0, 1.0), (6.0, 3.0))
    return tuple(
        LearningCurve(run=run, task=task, updates=(10, 20), losses=losses)
        for task in ("asr_en", "st_en_de")
        for run in runs
    )


def study(**changes: Any) -> StudyResults:
    fields: dict[str, Any] = {
        "name": "cues",
        "title": "Does a cue help?",
        "question": "Does a model need to be told?",
        "size": "small",
        "command": "taskaware study cues",
        "split": "test",
        "seeds": (1, 2, 3),
        "tasks": TASKS,
        "rows": rows(),
        "signatures": {"wer": "case:lower|jiwer:4"},
        "matrices": (matrix(),),
        "embeddings": (embeddings(),),
        "curves": curves("vanilla", "tag"),
        "provenance": {"machine": "two cores", "torch": "2.11"},
        "synthetic": True,
    }
    return StudyResults(**(fields | changes))


def one_seed() -> StudyResults:
    row = Row(label="vanilla", cells={"asr_en": wer(0.25)}, seconds=(3.0,))
    return study(seeds=(7,), rows=(row,), matrices=(), embeddings=(), curves=(), synthetic=False)


def many_tasks() -> StudyResults:
    """Nine tasks: eight translations and a recognition; the second row lacks one translation."""
    names = [f"st_en_x{index}" for index in range(8)]
    tasks = {"asr_en": "asr"} | dict.fromkeys(names, "st")
    low = {name: bleu(10.0 + index, 20.0 + index) for index, name in enumerate(names)}
    high = {name: bleu(60.0, 60.0) for name in names[1:]}
    rows = (
        Row(label="low", cells={"asr_en": wer(0.5, 0.25)} | low),
        Row(label="high", cells={"asr_en": wer(0.5, 0.5)} | high, against="low"),
    )
    return study(seeds=(1, 2), tasks=tasks, rows=rows, matrices=(), embeddings=(), curves=())
