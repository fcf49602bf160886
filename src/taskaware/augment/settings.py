"""What synthetic examples are made, and how: of one step, and of a whole recipe. Imports no torch.

The recipe's file is read by ``taskaware augment FILE.toml``; experiments/augmentation/paper.toml is
the paper's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from taskaware.data.manifest.tasks import name_problem
from taskaware.data.sound.settings import AugmentationSettings
from taskaware.settings import typed as settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


_MOST_VOICES = 18
_MOST_HZ = 655_350  # that FLAC can store
_DATASET_NAME = re.compile(r"[\w-]+")  # it becomes a folder


@dataclass(frozen=True, kw_only=True)
class TranslationModelSettings:
    """A trained translation model.

    Attributes:
        folder: A model's folder, or a run's; a relative path counts from where the command runs.
        name: What the origin of its outputs calls it; empty: the folder's name.
        which: Which of a run's models: model, best, average, taskwise/TASK.
    """

    folder: Path
    name: str = ""
    which: str = "model"

    @property
    def display_name(self) -> str:
        """The name, or the folder's."""
        return self.name or self.folder.absolute().name


@dataclass(frozen=True, kw_only=True)
class TranslationSettings:
    """How texts are translated.

    Attributes:
        task: The models' task, e.g. `mt_en_de`.
        beams: Width of the beam search.
        top: Outputs of each model that become examples, best first (2: section 6.1.1).
        replace: What the translation becomes: `target`, the target of the same recording or text,
            or `source`, the source of the same target text (back-translation).
        of: Tasks of the manifests whose examples are translated; empty: speech recognition in the
            models' source language, or where there is none, the text tasks that fit.
        as_task: Name of the new examples' task; empty: of kind and languages, e.g. `st_en_de`.
        examples_per_batch: Texts translated together.
        max_pieces: A longer text is not translated, in word pieces of the model (500: what
            `taskaware prepare` takes).
        keep_unfinished: Whether outputs that reached the length limit without an end are used; most
            of them repeat themselves.
    """

    task: str
    beams: int = 4
    top: int = 2
    replace: Literal["target", "source"] = "target"
    of: tuple[str, ...] = ()
    as_task: str = ""
    examples_per_batch: int = 32
    max_pieces: int = 500
    keep_unfinished: bool = False

    def validate(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what it must be) for every impossible value."""
        for name in ("beams", "top", "examples_per_batch", "max_pieces"):
            if getattr(self, name) < 1:
                yield name, f"must be at least 1, but is {getattr(self, name)}"
        if self.as_task and (problem := name_problem(self.as_task)):
            yield "as_task", problem
        if self.top > self.beams:
            yield "top", f"must be at most `beams` ({self.beams}), but is {self.top}"


@dataclass(frozen=True, kw_only=True)
class SpeechSettings:
    """How texts are spoken.

    Attributes:
        kinds: Kinds of task that get the speech: `asr` writes what is said, `st` the translation.
        voices: Recordings of each text, each by another voice.
        of: Text tasks of the manifests whose sources are spoken; empty: all in the language.
        language: The language that is spoken, as espeak-ng calls it.
        sample_rate_hz: Of the recordings.
        max_seconds: A longer recording is left out (40: what `taskaware prepare` takes).
    """

    kinds: tuple[Literal["asr", "st"], ...] = ("st",)
    voices: int = 1
    of: tuple[str, ...] = ()
    language: str = "en"
    sample_rate_hz: int = 16_000
    max_seconds: float = 40.0

    def validate(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what it must be) for every impossible value."""
        if not self.kinds or len(set(self.kinds)) < len(self.kinds):
            yield "kinds", "must be one or both of asr and st"
        if not 1 <= self.voices <= _MOST_VOICES:
            yield (
                "voices",
                f"must be from 1 to {_MOST_VOICES}, espeak-ng's voices, but is {self.voices}",
            )
        if not 8000 <= self.sample_rate_hz <= _MOST_HZ:
            yield (
                "sample_rate_hz",
                f"must be from 8000 to {_MOST_HZ}, but is {self.sample_rate_hz}",
            )
        if not self.max_seconds > 0:
            yield "max_seconds", "must be above 0"


@dataclass(frozen=True, kw_only=True)
class DatasetSettings:
    """What becomes of one dataset's training examples; all of them are trained on as they are, too.

    Attributes:
        manifests: Its training examples; a relative path counts from where the command runs.
        top: Synthetic targets of each transcript by each model: its best outputs; 0: none.
        signals_of_texts: Synthetic signals of each synthetic target, which take the place of its
            recording; 0: the recording itself.
        signals_of_originals: Synthetic signals of each example of speech translation, with its true
            target.
        voices: Synthetic recordings of each text pair by espeak-ng's voices.
    """

    manifests: tuple[Path, ...]
    top: int = 0
    signals_of_texts: int = 0
    signals_of_originals: int = 0
    voices: int = 0

    def validate(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what it must be) for every impossible value."""
        if not self.manifests:
            yield "manifests", "must name at least one manifest"
        for name in ("top", "signals_of_texts", "signals_of_originals", "voices"):
            if getattr(self, name) < 0:
                yield name, f"must not be negative, but is {getattr(self, name)}"
        if self.voices > _MOST_VOICES:
            yield "voices", f"must be at most {_MOST_VOICES}, espeak-ng's, but is {self.voices}"
        if self.signals_of_texts and not self.top:
            yield "signals_of_texts", "must be 0 where `top` is 0: there are no synthetic targets"


@dataclass(frozen=True, kw_only=True)
class RecipeSettings:
    """All synthetic examples of a training set, in one file.

    Attributes:
        to: The folder to write; a relative path counts from where the command runs.
        datasets: The datasets, by name.
        models: The translation models; needed where a dataset has `top` above 0.
        translation: How texts are translated; needed where a dataset has `top` above 0, which takes
            the place of its own.
        signal: How signals are changed; every copy is, whatever `share` says.
        speech: How texts are spoken; a dataset's `voices` takes the place of its own.
        seed: What is drawn at random depends on it.
    """

    to: Path
    datasets: dict[str, DatasetSettings]
    models: tuple[TranslationModelSettings, ...] = ()
    translation: TranslationSettings | None = None
    signal: AugmentationSettings = field(default_factory=AugmentationSettings)
    speech: SpeechSettings = field(default_factory=SpeechSettings)
    seed: int = 1

    def validate(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what it must be) for every impossible value."""
        if not self.datasets:
            yield "datasets", "must have at least one dataset"
        for name in self.datasets:
            if not _DATASET_NAME.fullmatch(name):
                yield (
                    "datasets",
                    f"must have names of letters, digits, _ and -, but one is '{name}'",
                )
        translated = [name for name, dataset in self.datasets.items() if dataset.top]
        if translated and not self.models:
            yield "models", f"must name the models that translate {', '.join(translated)}"
        if translated and self.translation is None:
            yield "translation", f"must say how {', '.join(translated)} is translated"
        changed = any(d.signals_of_texts or d.signals_of_originals for d in self.datasets.values())
        if changed and not (self.signal.speed or self.signal.tempo or self.signal.echo):
            yield "signal", "must change speed, tempo or echo, but all are switched off"
        names = [model.display_name for model in self.models]
        if len(set(names)) < len(names):
            yield "models", f"must have different names, but have {', '.join(names)}"
        for name, dataset in self.datasets.items():
            if self.translation is not None and dataset.top > self.translation.beams:
                yield (
                    "datasets",
                    f"must have `top` of at most `translation.beams` ({self.translation.beams}), "
                    f"but '{name}' has {dataset.top}",
                )


def load(path: Path, overrides: Sequence[str] = ()) -> RecipeSettings:
    """Read a recipe; ``overrides`` are fields over the file's own, e.g. ``"seed=2"``.

    Raises:
        ExperimentError: Unknown keys, wrong types, impossible values; each with file and line.
    """
    return settings.load(RecipeSettings, path, overrides)
