"""The main job from nothing: make a corpus, train one model on three tasks, score it, report."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from taskaware.data.embedded import corpus as embedded
from taskaware.data.prepare.folder import PrepareSettings, prepare
from taskaware.data.prepared.folder import PreparedData
from taskaware.errors import require_packages
from taskaware.output_folder import claimed, require_usable
from taskaware.report.comparison import ComparedRun, report_html, results_json, score_runs
from taskaware.run.launch import train_in_processes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from taskaware.model.conditioning_settings import Cue
    from taskaware.run.experiment import Experiment
    from taskaware.run.train import Display
    from taskaware.training.ending import Ending

_VOCABULARY_SIZE = 1000
_WRITTEN = ("results.json", "report.html")
_CUES: Mapping[str, Cue] = {"implicit": "implicit", "vanilla": "none", "explicit": "explicit"}


@dataclass(frozen=True, kw_only=True)
class DemoResult:
    """What the demo made.

    Attributes:
        compared: The scored models, the implicit one first.
        results_path: All figures, JSON.
        report_path: The page to look at.
        seconds: Time of each stage.
    """

    compared: list[ComparedRun]
    results_path: Path
    report_path: Path
    seconds: dict[str, float]


def run_demo(
    experiment: Experiment,
    folder: Path,
    *,
    compare: bool,
    progress: Callable[[], AbstractContextManager[Callable[[str, int, int], None]]],
    training_display: Callable[[], AbstractContextManager[Display]],
) -> DemoResult | Ending:
    """Run the demo, or resume it; return how training ended where it was interrupted.

    Args:
        experiment: What to train; its data folder is replaced by the demo's own.
        folder: Where everything goes.
        compare: Whether to train the vanilla model and the explicit task network too.
        progress: Makes a display of stages.
        training_display: Makes a display of a training.

    Raises:
        MissingDependencyError: The extra ``demo`` is not installed.
    """
    require_usable(folder, names=_WRITTEN)
    require_packages("the demo", "demo", "espeakng_loader", "matplotlib", "sklearn")
    seconds: dict[str, float] = {}
    with _timed(seconds, "corpus and features"):
        data = _make_data(folder, progress)
    runs: dict[str, Path] = {}
    for name in _CUES if compare else ("implicit",):
        runs[name] = folder / name
        with _timed(seconds, f"training {name}"), training_display() as display:
            ending = _train(_variant(experiment, name, data), runs[name], display)
            if not ending:
                return ending
    with _timed(seconds, "scoring"):
        with progress() as show:
            compared = score_runs(runs, data, "test", progress=show)
        with claimed(folder, names=_WRITTEN) as output:
            results_path = output.write("results.json", results_json(compared).encode())
    with _timed(seconds, "report"):
        command = "scripts/demo --compare" if compare else "scripts/demo"
        page = _report(compared, data, command, seconds)
        with claimed(folder, names=_WRITTEN) as output:
            report_path = output.write("report.html", page.encode())
    return DemoResult(
        compared=compared, results_path=results_path, report_path=report_path, seconds=seconds
    )


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    """Note how long a stage takes."""
    began = time.monotonic()
    yield
    seconds[stage] = time.monotonic() - began


def _variant(experiment: Experiment, name: str, data: PreparedData) -> Experiment:
    """Return the experiment of one of the models that are compared."""
    conditioning = replace(experiment.model.conditioning, cue=_CUES[name])
    return replace(
        experiment,
        name=name,
        data=replace(experiment.data, folder=Path(data.folder)),
        model=replace(experiment.model, conditioning=conditioning),
    )


def _report(
    compared: list[ComparedRun], data: PreparedData, command: str, seconds: Mapping[str, float]
) -> str:
    num_examples = len(data.split("train").examples)
    return report_html(
        compared,
        data,
        "test",
        title="One model, three tasks",
        summary=(
            "One Transformer learned speech recognition, speech translation and machine "
            f"translation (English to German) at once, from {num_examples:,} synthetic "
            "examples; scored on sentences and voices that it never met."
        ),
        synthetic=True,
        provenance={
            "command": command,
            **{stage: f"{spent:.0f} s" for stage, spent in seconds.items()},
        },
    )


def _train(experiment: Experiment, folder: Path, display: Display) -> Ending:
    """Train in two processes on a CPU of two cores or more, with as many examples an update."""
    num_processes = 2 if (os.cpu_count() or 1) > 1 and not torch.cuda.is_available() else 1
    batching = experiment.batching
    share = replace(batching, examples_per_batch=batching.examples_per_batch // num_processes)
    threads = max(1, (os.cpu_count() or 1) // num_processes)
    training = replace(experiment.training, num_threads=threads)
    return train_in_processes(
        replace(experiment, batching=share, training=training),
        folder,
        num_processes=num_processes,
        display=display,
    )


def _make_data(
    folder: Path,
    progress: Callable[[], AbstractContextManager[Callable[[str, int, int], None]]],
) -> PreparedData:
    corpus = folder / "corpus"
    with progress() as show:
        embedded.write(
            corpus,
            embedded.EmbeddedCorpusSettings(),
            progress=lambda done, total: show("speaking the synthetic corpus", done, total),
        )
        prepare(
            {split: [corpus / f"{split}.tsv"] for split in ("train", "dev", "test")},
            folder / "data",
            PrepareSettings(vocabulary_size=_VOCABULARY_SIZE),
            progress=show,
        )
    return PreparedData.open(folder / "data")
