"""``taskaware evaluate``: decode a split and score it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from taskaware.cli.display import out, stage_display
from taskaware.cli.numbers import Count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from taskaware.evaluation.evaluate import TaskResult
    from taskaware.evaluation.metrics import Score


def evaluate(
    model: Path,
    /,
    *,
    data: Path,
    split: str = "test",
    task: Annotated[tuple[str, ...], Parameter(negative=(), show_default=False)] = (),
    which: str = "model",
    beam: Count | None = None,
    limit: Count | None = None,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    to: Path | None = None,
) -> int:
    """Decode a split with a model and score every task: word error rate, BLEU, chrF, confusion.

    Parameters
    ----------
    model
        A model's folder, or a run's.
    data
        A folder that `prepare` made.
    split
        The split to decode.
    task
        A task to decode (default: all); repeat the option for several.
    which
        Which of a run's models: model, best, average, taskwise/TASK.
    beam
        Beam width (default: the model's own; 1 is greedy).
    limit
        Decode only so many examples of each task, spread evenly over the split.
    device
        Where to compute; auto: a CUDA device if there is one.
    to
        Where to write results.json and outputs.jsonl (default: evaluation/WHICH/SPLIT in the
        model's folder).
    """
    import json

    from taskaware.data.prepared import PreparedData
    from taskaware.evaluation.evaluate import evaluate as run_evaluation
    from taskaware.evaluation.evaluate import save_outputs
    from taskaware.inference import with_beam
    from taskaware.run_models import require_tasks, run_model

    loaded = run_model(model, which, device=device)
    prepared = PreparedData.open(data)
    tasks = require_tasks(loaded, prepared, task)
    with stage_display() as progress:
        results = run_evaluation(
            loaded,
            prepared.split(split),
            tasks,
            decoding=with_beam(loaded.decoding, beam),
            limit=limit,
            progress=progress,
        )
    folder = to or model / "evaluation" / which / split
    save_outputs(results, folder / "outputs.jsonl")
    summary = {
        "model": str(model),
        "which": which,
        "data": str(data),
        "split": split,
        "beam": beam or loaded.decoding.beam,
        "provenance": dict(loaded.provenance),
        "results": [result.summary() for result in results],
    }
    (folder / "results.json").write_text(json.dumps(summary, indent=1))
    print_results({str(model): results})
    out().print(f"outputs and scores: {folder}", soft_wrap=True, highlight=False)
    return 0


def print_results(results: dict[str, Sequence[TaskResult]]) -> None:
    """Print one table: a row a model and task."""
    from rich.table import Table

    several = len(results) > 1
    table = Table(box=None, pad_edge=False)
    for name in (["model"] if several else []) + ["task", "metric"]:
        table.add_column(name)
    for name in ("score", "confusion", "examples", "seconds"):
        table.add_column(name, justify="right")
    signatures: dict[str, str] = {}
    for model, rows in results.items():
        for row in rows:
            first = [model] if several else []
            rate = "-" if row.confusion_rate is None else f"{row.confusion_rate:.1%}"
            figures = [rate, f"{row.num_examples:,}", f"{row.seconds:.1f}"]
            for score in row.scores:
                signatures.setdefault(score.metric, score.signature)
                table.add_row(*first, row.task, score.metric, _shown(score), *figures)
                figures = ["", "", ""]
            for dataset, scores in row.by_dataset.items():
                count = f"{scores[0].num_examples:,}"
                cells = [f"  {dataset}", scores[0].metric, _shown(scores[0]), "", count, ""]
                table.add_row(*([""] if several else []), *cells)
    console = out()
    console.print(table)
    for metric, signature in signatures.items():
        console.print(f"{metric}: {signature}", style="dim", soft_wrap=True, highlight=False)


def _shown(score: Score) -> str:
    return f"{score.value:.3f}" if score.metric == "wer" else f"{score.value:.1f}"
