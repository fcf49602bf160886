"""The main job from nothing: make a corpus, train one model on three tasks, score it, report."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from taskaware.data.embedded import corpus as embedded
from taskaware.data.prepare.folder import PrepareSettings, prepare
from taskaware.data.prepared.folder import PreparedData
from taskaware.errors import require_packages
from taskaware.output_folder import claimed, require_usable
from taskaware.report.comparison import ComparedRun, score_runs, write_report, write_results
from taskaware.run.launch import train_in_processes

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from taskaware.run.experiment import Experiment
    from taskaware.run.train import Display

_VOCABULARY_SIZE = 1000
_WRITTEN = ("results.json", "report.html")
_CUES = {"implicit": "implicit", "vanilla": "none", "explicit": "explicit"}


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
) -> DemoResult | None:
    """Run the demo, or go on with it; ``None`` where training was interrupted.

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
    began = time.monotonic()
    data = _make_data(folder, progress)
    seconds["corpus and features"] = time.monotonic() - began
    runs: dict[str, Path] = {}
    for name, cue in _CUES.items() if compare else [("implicit", "implicit")]:
        began = time.monotonic()
        conditioning = replace(experiment.model.conditioning, cue=cue)
        one = replace(
            experiment,
            name=name,
            data=replace(experiment.data, folder=Path(data.folder)),
            model=replace(experiment.model, conditioning=conditioning),
        )
        runs[name] = folder / name
        with training_display() as display:
            if not _train(one, runs[name], display):
                return None
        seconds[f"training {name}"] = time.monotonic() - began
    began = time.monotonic()
    with progress() as show:
        compared = score_runs(runs, data, "test", progress=show)
    with claimed(folder, names=_WRITTEN) as output:
        write_results(output.begin("results.json"), compared)
        output.finish("results.json")
    seconds["scoring"] = time.monotonic() - began
    began = time.monotonic()
    num_examples = len(data.split("train").examples)
    with claimed(folder, names=_WRITTEN) as output:
        write_report(
            output.begin("report.html"),
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
                "command": "scripts/demo --compare" if compare else "scripts/demo",
                **{stage: f"{spent:.0f} s" for stage, spent in seconds.items()},
            },
        )
        output.finish("report.html")
    seconds["report"] = time.monotonic() - began
    return DemoResult(
        compared=compared,
        results_path=folder / "results.json",
        report_path=folder / "report.html",
        seconds=seconds,
    )


def _train(experiment: Experiment, folder: Path, display: Display) -> bool:
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
