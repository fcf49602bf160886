"""The main job from nothing: make a corpus, train one model on three tasks, score it, report."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from taskaware.comparison import ComparedRun, score_runs, write_report, write_results
from taskaware.data.corpora import embedded
from taskaware.data.prepare import PrepareSettings, prepare
from taskaware.data.prepared import PreparedData
from taskaware.runs import Display, train_experiment

if TYPE_CHECKING:
    from taskaware.experiment import Experiment

_VOCABULARY_SIZE = 1000
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
    """
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
            data=replace(experiment.data, folder=data.folder),
            model=replace(experiment.model, conditioning=conditioning),
        )
        runs[name] = folder / name
        with training_display() as display:
            if not train_experiment(one, runs[name], display=display):
                return None
        seconds[f"training {name}"] = time.monotonic() - began
    began = time.monotonic()
    with progress() as show:
        compared = score_runs(runs, data, "test", progress=show)
    write_results(folder / "results.json", compared)
    seconds["scoring"] = time.monotonic() - began
    began = time.monotonic()
    num_examples = len(data.split("train").examples)
    write_report(
        folder / "report.html",
        compared,
        data,
        "test",
        title="One model, three tasks",
        summary=(
            "One Transformer learned speech recognition, speech translation and machine translation "
            f"(English to German) at once, from {num_examples:,} synthetic examples; scored on sentences "
            "and voices that it never met."
        ),
        synthetic=True,
        provenance={
            "command": "scripts/demo --compare" if compare else "scripts/demo",
            **{stage: f"{spent:.0f} s" for stage, spent in seconds.items()},
        },
    )
    seconds["report"] = time.monotonic() - began
    return DemoResult(
        compared=compared,
        results_path=folder / "results.json",
        report_path=folder / "report.html",
        seconds=seconds,
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
