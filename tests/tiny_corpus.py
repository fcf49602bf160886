"""A corpus of tones that says numbers, and an experiment that a test can train in a second."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import numpy as np

from taskaware.data.batches.settings import BatchingSettings
from taskaware.data.prepare import PrepareSettings, prepare
from taskaware.decoding.settings import DecodingSettings
from taskaware.model.settings import ConditioningSettings, ModelSettings
from taskaware.run.experiment import Experiment
from taskaware.run.log import read_log
from taskaware.run.settings import DataSettings, StartSettings
from taskaware.training.settings import (
    LearningSettings,
    OptimiserSettings,
    RetentionSettings,
    TrainingSettings,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from taskaware.run.run import Run
    from taskaware.training.loop import Validation
    from taskaware.training.progress import Progress
    from taskaware.training.settings import Trains

RATE_HZ = 16_000
SECONDS_PER_WORD = 0.4
TASK_NAMES = ("asr_en", "st_en_de", "mt_en_de")
NUM_EXAMPLES = {"train": 16, "dev": 4, "test": 4}
_GERMAN = {"one": "eins", "two": "zwei", "six": "sechs", "ten": "zehn"}
_TONES_HZ = dict(zip(_GERMAN, (300, 600, 1200, 2400), strict=True))
_COLUMNS = (
    *("task", "audio", "source_text", "target_text"),
    *("source_language", "target_language", "utterance"),
)


def speak(words: str) -> np.ndarray:
    """Return one tone a word, float32 ``[N]`` at ``RATE_HZ``."""
    times = np.arange(int(SECONDS_PER_WORD * RATE_HZ)) / RATE_HZ
    tones = [np.sin(2 * np.pi * _TONES_HZ[word] * times) for word in words.split()]
    return (0.3 * np.concatenate(tones)).astype(np.float32)


def write_corpus(folder: Path) -> dict[str, Path]:
    """Write recordings and a manifest for each split; return the manifests."""
    import soundfile

    texts = [*_GERMAN, *(f"{first} {second}" for first in _GERMAN for second in _GERMAN)]
    texts += ["one two six", "two six ten", "six ten one", "ten one two"]  # 24 recordings in all
    np.random.default_rng(1).shuffle(texts)
    manifests = {}
    for split, number in NUM_EXAMPLES.items():
        rows = [_COLUMNS]
        for i in range(number):
            english = texts.pop()
            german = " ".join(_GERMAN[word] for word in english.split())
            audio = f"{split}{i}.wav"
            soundfile.write(folder / audio, speak(english), RATE_HZ)
            rows += [
                ("asr_en", audio, "", english, "en", "en", f"{split}{i}"),
                ("st_en_de", audio, "", german, "en", "de", f"{split}{i}"),
                ("mt_en_de", "", english, german, "en", "de", f"{split}{i}"),
            ]
        manifests[split] = folder / f"{split}.tsv"
        manifests[split].write_text("".join("\t".join(row) + "\n" for row in rows))
    return manifests


def prepare_corpus(folder: Path) -> Path:
    """Write the corpus and prepare it; return the prepared folder."""
    manifests = {split: [path] for split, path in write_corpus(folder).items()}
    prepare(manifests, folder / "data", PrepareSettings(vocabulary_size=300, num_workers=1))
    return folder / "data"


def write_new_task(folder: Path) -> dict[str, Path]:
    """Write manifests of a task beside those of the corpus: German to English text."""
    columns = ("task", "source_text", "target_text", "source_language", "target_language")
    manifests = {}
    for split in NUM_EXAMPLES:
        lines = (folder / f"{split}.tsv").read_text().splitlines()
        rows = [dict(zip(_COLUMNS, line.split("\t"), strict=True)) for line in lines[1:]]
        texts = [(r["target_text"], r["source_text"]) for r in rows if r["source_text"]]
        manifests[split] = folder / f"new-{split}.tsv"
        new = [columns, *(("mt_de_en", *pair, "de", "en") for pair in texts)]
        manifests[split].write_text("".join("\t".join(row) + "\n" for row in new))
    return manifests


def tiny_experiment(
    data: Path,
    *,
    conditioning: dict[str, Any] | None = None,
    model: dict[str, Any] | None = None,
    batching: dict[str, Any] | None = None,
    learning: dict[str, Any] | None = None,
    start: Path | None = None,
    trains: Trains = "everything",
    retention: dict[str, Any] | None = None,
    optimiser: dict[str, Any] | None = None,
    tasks: tuple[str, ...] = (),
    **training: Any,
) -> Experiment:
    """Return an experiment on the corpus: six updates unless told otherwise."""
    cue = {"d_task": 8, "d_task_ff": 16, "num_task_heads": 2} | (conditioning or {})
    sizes = {
        "d_model": 16,
        "num_heads": 2,
        "d_ff": 32,
        "num_encoder_layers": 1,
        "num_decoder_layers": 1,
        "cnn_channels": 4,
    }
    course = {
        "updates": 6,
        "log_every": 1,
        "validate_every": 2,
        "save_every": 2,
        "average_last": 2,
        "support_examples": 8,
        "num_threads": 1,
        "precision": "float32",
        "device": "cpu",
    }
    return Experiment(
        name="tiny",
        data=DataSettings(folder=data, tasks=tasks),
        model=ModelSettings(**(sizes | (model or {})), conditioning=ConditioningSettings(**cue)),
        start=StartSettings(
            model=start, trains=trains, retention=RetentionSettings(**(retention or {}))
        ),
        learning=LearningSettings(**(learning or {})),
        batching=BatchingSettings(**({"examples_per_batch": 4} | (batching or {}))),
        optimiser=OptimiserSettings(
            **(
                {"schedule": "linear", "learning_rate": 1e-2, "warmup_updates": 2}
                | (optimiser or {})
            )
        ),
        training=TrainingSettings(**(course | training)),
        decoding=DecodingSettings(beam=2, extra_pieces=4),
    )


class Silent:
    """A display that shows nothing and calls ``after`` with the number of updates done."""

    def __init__(self, after: Callable[[int], object] | None = None) -> None:
        self._after = after
        self.first_update = -1
        self.updates: list[int] = []
        self.notes: list[str] = []

    def start(self, run: Run, *, first_update: int) -> None:
        self.first_update = first_update

    def note(self, text: str) -> None:
        self.notes.append(text)

    def on_update(self, update: int) -> None:
        self.updates.append(update)
        if self._after is not None:
            self._after(update)

    def on_progress(self, progress: Progress) -> None:
        pass

    def on_validation(self, update: int, validation: Validation) -> None:
        pass


def interrupt_in(number: int) -> Silent:
    """Return a display that sends Ctrl-C while this update is under way."""

    def interrupt(update: int) -> None:
        if update == number - 1:
            os.kill(os.getpid(), signal.SIGINT)

    return Silent(interrupt)


def assert_same_models(left: Path, right: Path) -> None:
    """All weights and task embeddings, and what a further resume would start from, bit for bit."""
    paths = [path.relative_to(left) for path in left.rglob("*.safetensors")]
    paths = [path for path in paths if path.parts[0] != "checkpoints"]
    newest = [sorted((run / "checkpoints").iterdir())[-1] for run in (left, right)]
    pairs = [(left / path, right / path) for path in paths]
    pairs += [(path, newest[1] / path.name) for path in newest[0].glob("*.safetensors")]
    assert len(pairs) >= 9
    for ours, theirs in pairs:
        assert ours.read_bytes() == theirs.read_bytes(), ours.relative_to(left)


def figures(folder: Path) -> list[dict]:
    """Return the log without what depends on the clock."""
    timed = ("seconds", "examples_per_second", "pieces_per_second", "waiting")
    timed += ("speech_hours_per_second",)
    return [{k: v for k, v in line.items() if k not in timed} for line in read_log(folder)]
