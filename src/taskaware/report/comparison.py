"""Several trained runs side by side on one split: results.json, a table, an HTML report."""

from __future__ import annotations

import io
import json
import os
import platform
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from taskaware.data.sound import audio
from taskaware.errors import counted
from taskaware.evaluation import embeddings
from taskaware.evaluation.embedding_points import embedding_points
from taskaware.evaluation.evaluate import TaskResult, evaluate, save_outputs
from taskaware.inference.data_fit import require_tasks, require_vocabulary
from taskaware.inference.model import load
from taskaware.model.parameters import parameters_by_part
from taskaware.report import page as report
from taskaware.report.figures import LossCurve, tsne_figure
from taskaware.run.log import read_log
from taskaware.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from taskaware.data.batches.batching import TaskSource
    from taskaware.data.prepared.folder import PreparedData
    from taskaware.inference.model import TaskAwareModel
    from taskaware.types import Example

_EXAMPLES_SHOWN = 10
_EMBEDDINGS_PER_TASK = 150
_AUDIO_RATE_HZ = 16_000


@dataclass(frozen=True)
class ComparedRun:
    """One run of a comparison, scored.

    Attributes:
        name: What table and report call it.
        folder: The run's folder.
        model: Its final model.
        results: What it reaches, task by task.
    """

    name: str
    folder: Path
    model: TaskAwareModel
    results: Sequence[TaskResult]


def score_runs(
    runs: Mapping[str, Path],
    data: PreparedData,
    split_name: str,
    *,
    progress: Callable[[str, int, int], None] | None = None,
) -> list[ComparedRun]:
    """Decode a split with the final model of every run; each run's folder keeps its outputs."""
    compared = []
    for name, folder in runs.items():
        model = load(folder)
        require_tasks(model, data, ())
        require_vocabulary(model, data)

        def show(task: str, done: int, total: int, name: str = name) -> None:
            if progress is not None:
                progress(f"{name}: {task}", done, total)

        results = evaluate(model, data.split(split_name), model.tasks, progress=show)
        save_outputs(results, folder / "evaluation" / split_name / "outputs.jsonl")
        compared.append(ComparedRun(name, folder, model, results))
    return compared


def results_json(compared: Sequence[ComparedRun]) -> str:
    """Return JSON: model -> task -> metric, score, confusion rate, examples, seconds."""
    content = {
        run.name: {
            "tasks": {result.task: result.summary() for result in run.results},
            "parameters": parameters_by_part(run.model.transformer),
            "training_seconds": _last(run.folder, "seconds"),
            "updates": _last(run.folder, "update"),
            "provenance": dict(run.model.provenance),
        }
        for run in compared
    }
    return json.dumps(content, indent=1)


def report_html(
    compared: Sequence[ComparedRun],
    data: PreparedData,
    split_name: str,
    *,
    title: str,
    summary: str,
    synthetic: bool,
    provenance: Mapping[str, str],
) -> str:
    """Return the comparison as one HTML page that needs nothing else.

    Raises:
        MissingDependencyError: There are losses to draw, and Matplotlib is not installed.
    """
    split = data.split(split_name)
    first = compared[0].model.provenance
    python = f"Python {platform.python_version()}"
    shown = {
        "machine": f"{platform.machine()}, {counted(os.cpu_count() or 1, 'core')}, {python}",
        "versions": f"taskaware {__version__}, torch {first.get('torch', '')}",
        "updates": str(_last(compared[0].folder, "update")),
        "seed": str(first.get("seed", "")),
        **provenance,
    }
    contents = report.ReportContents(
        title=title,
        summary=summary,
        scores=[row for run in compared for row in _score_rows(run)],
        synthetic=synthetic,
        losses=[report.ModelLosses(model=run.name, curves=_curves(run.folder)) for run in compared],
        embeddings=[picture for run in compared if (picture := _picture(run, split))],
        examples=_examples(compared, split.examples),
        parameters=[
            report.PartParameters(model=run.name, part=part, num_parameters=number)
            for run in compared
            for part, number in parameters_by_part(run.model.transformer).items()
        ],
        provenance=shown,
    )
    return report.render_html(contents)


def _last(folder: Path, field: str) -> float:
    lines = [line for line in read_log(folder) if line["kind"] == "progress"]
    return lines[-1].get(field, 0) if lines else 0


def _score_rows(run: ComparedRun) -> list[report.ScoreRow]:
    return [
        report.ScoreRow(
            model=run.name,
            task=result.task,
            metric=score.metric,
            score=score.value,
            num_examples=score.num_examples,
            confusion_rate=result.confusion_rate,
            seconds=result.seconds,
            signature=score.signature,
        )
        for result in run.results
        for score in result.scores
    ]


def _curves(folder: Path) -> list[LossCurve]:
    lines = [line for line in read_log(folder) if line["kind"] == "progress"]
    tasks = list(dict.fromkeys(task for line in lines for task in line["losses"]))
    return [
        LossCurve(
            task=task,
            updates=[line["update"] for line in lines if task in line["losses"]],
            losses=[line["losses"][task] for line in lines if task in line["losses"]],
        )
        for task in tasks
    ]


def _picture(run: ComparedRun, split: TaskSource) -> report.EmbeddingPicture | None:
    """Return the t-SNE of the t_e of test examples, where they are computed from examples."""
    found = embedding_points(run.model, split, num_per_task=_EMBEDDINGS_PER_TASK)
    if found is None:
        return None
    stacked, labels = found.embeddings, found.tasks
    flat = embeddings.project(stacked, seed=1)
    return report.EmbeddingPicture(
        model=run.name,
        svg=tsne_figure(flat, labels),
        num_embeddings=len(stacked),
        silhouette=embeddings.silhouette(stacked, labels) if len(set(labels)) > 1 else None,
    )


def _examples(
    compared: Sequence[ComparedRun], examples: Sequence[Example]
) -> list[report.ShownExample]:
    """Return outputs of random examples, the tasks in turn, every model's beside the reference."""
    by_id = {example.id: example for example in examples}
    first = compared[0]
    per_task = [list(result.outputs) for result in first.results]
    draw = random.Random(1)
    for outputs in per_task:
        draw.shuffle(outputs)
    chosen = [
        outputs[i] for i in range(_EXAMPLES_SHOWN) for outputs in per_task if i < len(outputs)
    ]
    shown = []
    for output in chosen[:_EXAMPLES_SHOWN]:
        example = by_id[output.id]
        found = [
            report.ShownOutput(
                model=run.name,
                text=other.text,
                wrong=other.text != other.reference,
                confused=other.confused,
            )
            for run in compared
            for result in run.results
            for other in result.outputs
            if other.id == output.id
        ]
        shown.append(
            report.ShownExample(
                task=example.task,
                reference=example.target_text,
                outputs=found,
                source_text=example.source_text or "",
                audio=_wav(example),
                origin=" · ".join(filter(None, [example.id, example.dataset, example.speaker])),
            )
        )
    return shown


def _wav(example: Example) -> bytes:
    """Return an example's recording as a WAV file, empty where its source is no recording."""
    if example.speech is None:
        return b""
    import soundfile

    waveform = audio.read_speech(example.speech, sample_rate_hz=_AUDIO_RATE_HZ).waveform
    file = io.BytesIO()
    soundfile.write(file, waveform, _AUDIO_RATE_HZ, format="WAV", subtype="PCM_16")
    return file.getvalue()
