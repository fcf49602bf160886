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
    weights: Literal["float32", "bfloat16", "int8"] = "float32",
    to: Path | None = None,
) -> int:
    """Decode a split with a model and score every task: error rate, BLEU, chrF, confusion.

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
    weights
        What the model computes with: bfloat16 and int8 are faster on processors that have
        instructions for them, and nearly as exact.
    to
        Where to write results.json and outputs.jsonl (default: evaluation/WHICH/SPLIT in the
        model's folder; other data, --task, --limit, --beam and --weights add to its name).
        Results of another evaluation are not written over.
    """
    from taskaware.data.prepared.folder import PreparedData
    from taskaware.decoding.settings import with_beam
    from taskaware.evaluation import results_folder
    from taskaware.evaluation.card_scores import add_scores
    from taskaware.evaluation.evaluate import evaluate as run_evaluation
    from taskaware.inference.data_fit import require_tasks
    from taskaware.inference.model import load
    from taskaware.inference.model_folder import find_model

    loaded = load(model, which=which, device=device, weights=weights)
    prepared = PreparedData.open(data)
    tasks = require_tasks(loaded, prepared, task)
    decoding = with_beam(loaded.decoding, beam)
    is_part = {one.name for one in tasks} != {one.name for one in require_tasks(loaded, prepared)}
    evaluated = results_folder.Evaluated(
        which=which,
        data=str(data),
        data_fingerprint=prepared.fingerprint,
        split=split,
        beam=decoding.beam,
        weights=weights,
        limit=limit,
        tasks=tuple(sorted(one.name for one in tasks)) if is_part else None,
    )
    name = results_folder.folder_name(
        evaluated,
        own_fingerprint=str(loaded.provenance.get("data_fingerprint", "")),
        own_beam=loaded.decoding.beam,
    )
    folder = to or model / "evaluation" / which / name
    results_folder.require_usable(folder, evaluated, model=model, is_named=to is not None)
    with stage_display() as progress:
        results = run_evaluation(
            loaded,
            prepared.split(split),
            tasks,
            decoding=decoding,
            limit=limit,
            progress=progress,
        )
    about = {"model": str(model), "provenance": dict(loaded.provenance)}
    try:  # printed first: whatever happens to the disk, the scores are seen
        print_results({str(model): results})
    finally:  # written whoever stopped to read
        results_folder.write(folder, evaluated, results, about)
        if to is None:
            add_scores(loaded, find_model(model, which), folder.parent)
    out().print(f"outputs and scores: {folder}", soft_wrap=True, highlight=False)
    return 0


def print_results(results: dict[str, Sequence[TaskResult]]) -> None:
    """Print one table: a row a model and task."""
    from rich.table import Table

    from taskaware.evaluation.metrics import signatures, warnings

    several = len(results) > 1
    table = Table(box=None, pad_edge=False)
    for name in (["model"] if several else []) + ["task", "metric"]:
        table.add_column(name)
    for name in ("score", "confusion", "examples", "seconds"):
        table.add_column(name, justify="right")
    scored: list[tuple[str, Score]] = []
    for model, rows in results.items():
        for row in rows:
            first = [model] if several else []
            rate = "-" if row.confusion_rate is None else f"{row.confusion_rate:.1%}"
            figures = [rate, f"{row.num_examples:,}", f"{row.seconds:.1f}"]
            for score in row.scores:
                scored.append((row.task, score))
                table.add_row(*first, row.task, score.metric, f"{score.value:.1f}", *figures)
                figures = ["", "", ""]
            for dataset, scores in row.by_dataset.items():
                count = f"{scores[0].num_examples:,}"
                cells = [f"  {dataset}", scores[0].metric, f"{scores[0].value:.1f}", "", count, ""]
                table.add_row(*([""] if several else []), *cells)
    console = out()
    console.print(table)
    for metric, signature in signatures(scored).items():
        console.print(f"{metric}: {signature}", style="dim", soft_wrap=True, highlight=False)
    for warning in warnings(scored):
        console.print(f"warning: {warning}", soft_wrap=True, highlight=False)
