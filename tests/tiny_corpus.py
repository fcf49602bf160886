"""A corpus of tones that says numbers, and an experiment that a test can train in a second."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, TypedDict, Unpack

import numpy as np

from taskaware.data.batches.settings import BatchingSettings
from taskaware.data.prepare import PrepareSettings, prepare
from taskaware.decoding.settings import DecodingSettings
from taskaware.model.conditioning_settings import ConditioningSettings
from taskaware.model.settings import ModelSettings
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

    from taskaware.model.adapter_settings import AdapterSettings
    from taskaware.model.conditioning_settings import Cue
    from taskaware.run.run import Run
    from taskaware.training.loop import Validation
    from taskaware.training.progress import TrainingProgress
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


class ConditioningChanges(TypedDict, total=False):
    """Fields of ``ConditioningSettings`` that tests choose."""

    cue: Cue
    gradient_reaches_shared_layers: bool
    derange_support: bool


class ModelChanges(TypedDict, total=False):
    """Fields of ``ModelSettings`` that tests choose."""

    d_model: int
    d_ff: int
    num_encoder_layers: int
    num_decoder_layers: int
    num_features: int
    dropout: float
    adapters: AdapterSettings


class BatchingChanges(TypedDict, total=False):
    """Fields of ``BatchingSettings`` that tests choose."""

    strategy: Literal["static", "dynamic"]
    examples_per_batch: int
    max_tokens: int
    max_frames: int
    bucket_batches: int
    num_workers: int
    cue_examples: int
    max_source: int
    max_target: int
    mix: Literal["every_task", "sampled", "within_batches"]
    task_weights: dict[str, float]


class LearningChanges(TypedDict, total=False):
    """Fields of ``LearningSettings`` that tests choose."""

    strategy: Literal["joint", "meta"]
    second_order: bool
    inner_learning_rate: float


class RetentionChanges(TypedDict, total=False):
    """Fields of ``RetentionSettings`` that tests choose."""

    method: Literal["none", "replay", "distillation", "ewc"]
    memory_examples: int
    weight: float


class OptimiserChanges(TypedDict, total=False):
    """Fields of ``OptimiserSettings`` that tests choose."""

    learning_rate: float
    warmup_updates: int
    max_gradient_norm: float


class TrainingChanges(TypedDict, total=False):
    """Fields of ``TrainingSettings`` that tests choose."""

    seed: int
    updates: int
    validate_every: int
    save_every: int
    log_every: int
    keep: int
    patience: int
    average_last: int
    accumulate: int
    final: Literal["best", "average", "last"]
    selection: Literal["loss", "score"]
    taskwise: bool
    precision: Literal["auto", "bfloat16", "float32"]
    validation_examples: int
    support_examples: int
    num_threads: int
    device: Literal["auto", "cpu", "cuda"]
    try_largest: Literal["auto", "always", "never"]


def tiny_experiment(
    data: Path,
    *,
    conditioning: ConditioningChanges | None = None,
    model: ModelChanges | None = None,
    batching: BatchingChanges | None = None,
    learning: LearningChanges | None = None,
    start: Path | None = None,
    trains: Trains = "everything",
    retention: RetentionChanges | None = None,
    optimiser: OptimiserChanges | None = None,
    tasks: tuple[str, ...] = (),
    **training: Unpack[TrainingChanges],
) -> Experiment:
    """Return an experiment on the corpus: six updates unless told otherwise."""
    cue = ConditioningSettings(d_task=8, d_task_ff=16, num_task_heads=2)
    sizes = ModelSettings(
        d_model=16,
        num_heads=2,
        d_ff=32,
        num_encoder_layers=1,
        num_decoder_layers=1,
        cnn_channels=4,
        conditioning=replace(cue, **(conditioning or {})),
    )
    course = TrainingSettings(
        updates=6,
        log_every=1,
        validate_every=2,
        save_every=2,
        average_last=2,
        support_examples=8,
        num_threads=1,
        precision="float32",
        device="cpu",
    )
    rate = OptimiserSettings(schedule="linear", learning_rate=1e-2, warmup_updates=2)
    return Experiment(
        name="tiny",
        data=DataSettings(folder=data, tasks=tasks),
        model=replace(sizes, **(model or {})),
        start=StartSettings(
            model=start, trains=trains, retention=RetentionSettings(**(retention or {}))
        ),
        learning=LearningSettings(**(learning or {})),
        batching=replace(BatchingSettings(examples_per_batch=4), **(batching or {})),
        optimiser=replace(rate, **(optimiser or {})),
        training=replace(course, **training),
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

    def on_progress(self, progress: TrainingProgress) -> None:
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
    """Return the log without what depends on the clock, and on where the run was stopped."""
    timed = ("seconds", "examples_per_second", "pieces_per_second", "waiting")
    timed += ("speech_hours_per_second", "memory_mib")
    lines = [line for line in read_log(folder) if line["kind"] != "resumed"]
    return [{k: v for k, v in line.items() if k not in timed} for line in lines]
