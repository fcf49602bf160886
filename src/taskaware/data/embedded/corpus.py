"""The embedded corpus: a corpus that needs no download, written as a user's own corpus would be.

Sentences of our own grammar, their translations by its rules, their speech by espeak-ng's voices.
It is synthetic in every part, and says so wherever it shows.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from taskaware.data.embedded.ciphers import ciphers
from taskaware.data.embedded.grammar import Sentence, generate
from taskaware.data.embedded.settings import (
    SPLITS,
    TRANSLATIONS,
    EmbeddedCorpusSettings,
    Split,
)
from taskaware.data.sound.audio import flac
from taskaware.data.sound.synthesis import Synthesiser, Voice, voices
from taskaware.errors import ExperimentError, counted
from taskaware.files import reporting
from taskaware.output_folder import claimed
from taskaware.settings import typed as settings_file
from taskaware.signals import leave_to_first_process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_COLUMNS = (
    *("id", "task", "kind", "dataset", "audio", "start_seconds", "duration_seconds"),
    *("source_text", "target_text", "source_language", "target_language", "speaker", "utterance"),
)
_DATASET = "embedded"
_WRITTEN = ("README.txt", "complete.json", "audio", *(f"{split}.tsv" for split in SPLITS))
_README_TITLE = "EMBEDDED CORPUS (SYNTHETIC)"
_LATER_FIELDS = ("num_ciphers", "one_dataset_a_task", "telephone_st", "lexicon_share", "max_words")
_NUM_RECORDINGS_PER_PROCESS = 800
_SECONDS_BETWEEN_REPORTS = 0.5
_TELEPHONE_BAND_HZ = (300.0, 3400.0)


@dataclass(frozen=True, kw_only=True)
class Recording:
    """One sentence spoken by one voice.

    Attributes:
        split: Where it belongs.
        number: Of the recording in its split, from 0.
        sentence_number: Of the sentence in its split, from 0.
        first: Whether it is the first recording of its sentence.
        sentence: What is spoken.
        voice: Who speaks.
        only_task: The one task that it serves; empty where it serves all.
    """

    split: Split
    number: int
    sentence_number: int
    first: bool
    sentence: Sentence
    voice: Voice
    only_task: str = ""

    @property
    def name(self) -> str:
        """Unique in the corpus."""
        return f"{self.split}-{self.number:06d}"

    def audio_for(self, kind: str, settings: EmbeddedCorpusSettings) -> str:
        """Path of what tasks of a kind listen to, relative to the corpus; empty for ``mt``."""
        if kind == "mt":
            return ""
        sound = "-telephone" if kind == "st" and settings.telephone_st else ""
        return f"audio/{self.split}/{self.name}{sound}.flac"

    def audios(self, settings: EmbeddedCorpusSettings) -> tuple[str, ...]:
        """Paths of all that some task listens to."""
        kinds = (self.only_task[: self.only_task.index("_")],) if self.only_task else ("asr", "st")
        found = dict.fromkeys(self.audio_for(kind, settings) for kind in kinds)
        return tuple(path for path in found if path)


def write(
    folder: Path,
    settings: EmbeddedCorpusSettings,
    *,
    num_workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write the corpus: ``{train,dev,test}.tsv``, ``audio/``, ``README.txt``, ``complete.json``.

    ``complete.json`` comes last. Where it is there already with the same settings, nothing is done;
    otherwise what an earlier call has written is replaced. The same settings give the same files,
    whatever the number of workers.

    Args:
        folder: Where to write; made if missing.
        settings: What to write.
        num_workers: Processes that speak; ``None`` means one per processor.
        progress: Called twice a second with the number of recordings done and in all.

    Raises:
        ExperimentError: A setting has an impossible value.
        OutputError: ``folder`` holds files that are not an embedded corpus.
        MissingDependencyError: The ``demo`` extra is not installed.
    """
    settings_file.require_valid(settings, where="embedded corpus")
    marker = folder / "complete.json"
    described = _described(settings)
    if _settings_of(marker) == described:
        return
    Synthesiser()  # Fails here rather than in every worker.
    with claimed(folder, names=_WRITTEN, earlier=partial(_written_earlier, folder)) as output:
        output.remove([name for name in output.written if name != "README.txt"])
        recordings = plan(settings)
        output.write("README.txt", _readme(settings).encode(), noted=False)
        for split in SPLITS:
            (folder / "audio" / split).mkdir(parents=True, exist_ok=True)
        spoken = [recording for recording in recordings if recording.audios(settings)]
        for name in (name for recording in spoken for name in recording.audios(settings)):
            output.begin(name)
        workers = num_workers or os.cpu_count() or 1
        num_seconds = _speak(folder, spoken, settings, workers, progress)
        for split in SPLITS:
            rows = [row for r in recordings if r.split == split for row in _rows(r, settings)]
            lines = ["\t".join(row) + "\n" for row in (_COLUMNS, *rows)]
            output.write(f"{split}.tsv", "".join(lines).encode())
        num_recordings = sum(len(recording.audios(settings)) for recording in spoken)
        counts = {"recordings": num_recordings, "hours": round(num_seconds / 3600, 3)}
        content = {"synthetic": True, "settings": described, "counts": counts}
        output.write(marker.name, f"{json.dumps(content, indent=2)}\n".encode(), noted=False)


def plan(settings: EmbeddedCorpusSettings) -> list[Recording]:
    """Who says what: every recording of the corpus, split by split.

    Sentences and voices of a split occur in no other one. Where a train sentence serves one task
    alone and that task reads, its recordings are planned all the same, but not spoken.
    """
    tasks = settings.tasks
    sentences = iter(
        generate(
            settings.num_sentences,
            seed=settings.seed,
            lexicon_share=settings.lexicon_share,
            max_words=settings.max_words,
        )
    )
    voices_of = dict(zip(SPLITS, _voices(settings), strict=True))
    num_sentences_of = {
        "test": settings.num_test_sentences,
        "dev": settings.num_dev_sentences,
        "train": settings.num_train_sentences,
    }
    recordings: dict[Split, list[Recording]] = {"train": [], "dev": [], "test": []}
    for split in reversed(SPLITS):
        rng = random.Random(f"{settings.seed} {split}")
        num_speakers = settings.speech_per_sentence if split == "train" else 1
        deals = split == "train" and settings.one_dataset_a_task
        for sentence_number in range(num_sentences_of[split]):
            sentence = next(sentences)
            only_task = tasks[sentence_number % len(tasks)] if deals else ""
            for turn, voice in enumerate(rng.sample(voices_of[split], num_speakers)):
                recordings[split].append(
                    Recording(
                        split=split,
                        number=len(recordings[split]),
                        sentence_number=sentence_number,
                        first=turn == 0,
                        sentence=sentence,
                        voice=voice,
                        only_task=only_task,
                    )
                )
    return [recording for split in SPLITS for recording in recordings[split]]


def _voices(settings: EmbeddedCorpusSettings) -> tuple[tuple[Voice, ...], ...]:
    """The voices of train, dev and test."""
    train_end = settings.num_train_voices
    dev_end = train_end + settings.num_dev_voices
    test_end = dev_end + settings.num_test_voices
    everybody = voices()
    return everybody[:train_end], everybody[train_end:dev_end], everybody[dev_end:test_end]


def _rows(recording: Recording, settings: EmbeddedCorpusSettings) -> list[tuple[str, ...]]:
    """The manifest's rows of one recording: speech tasks, and text tasks once per sentence."""
    only_task = recording.only_task
    dataset = f"{_DATASET}_{only_task}" if only_task else _DATASET
    english = recording.sentence.english
    utterance = f"{recording.split}-{recording.sentence_number:06d}"

    def row(task: str, kind: str, target_text: str, language: str) -> tuple[str, ...]:
        of_text = kind == "mt"
        audio, source_text = recording.audio_for(kind, settings), english if of_text else ""
        speaker = "" if of_text else recording.voice.name
        return (
            *(f"{recording.name}-{task}", task, kind, dataset, audio, "", ""),
            *(source_text, target_text, "en", language, speaker, utterance),
        )

    rows = [row("asr_en", "asr", english, "en")]
    for language, translation in _translations(recording.sentence, settings):
        rows.append(row(f"st_en_{language}", "st", translation, language))
        if recording.first:
            rows.append(row(f"mt_en_{language}", "mt", translation, language))
    return [cells for cells in rows if only_task in ("", cells[_COLUMNS.index("task")])]


def _translations(
    sentence: Sentence, settings: EmbeddedCorpusSettings
) -> Iterator[tuple[str, str]]:
    """Every target language with what it says."""
    for language in settings.languages:
        yield language, getattr(sentence, TRANSLATIONS[language])
    for cipher in ciphers(settings.num_ciphers):
        yield cipher.code, cipher.encipher(sentence.english)


_Job = tuple[Path, list[Recording], EmbeddedCorpusSettings]


def _speak(
    folder: Path,
    recordings: list[Recording],
    settings: EmbeddedCorpusSettings,
    num_workers: int,
    progress: Callable[[int, int], None] | None,
) -> float:
    """Write the audio files; returns their length in seconds."""
    starts = range(0, len(recordings), _NUM_RECORDINGS_PER_PROCESS)
    jobs: list[_Job] = [
        (folder, recordings[start : start + _NUM_RECORDINGS_PER_PROCESS], settings)
        for start in starts
    ]
    # Spawned, because a process that has started threads must not be forked. A fresh process for
    # every job, because only then the recordings depend neither on the number of workers nor on
    # what this process has spoken before.
    context = multiprocessing.get_context("spawn")
    pool = context.Pool(
        min(num_workers, len(jobs)),
        initializer=leave_to_first_process,
        maxtasksperchild=1,
    )
    try:
        results = pool.map_async(_speak_job, jobs, chunksize=1)
        while not results.ready():
            results.wait(_SECONDS_BETWEEN_REPORTS)
            if progress:
                num_done = sum(1 for _ in (folder / "audio").glob("*/*.flac"))
                progress(num_done, len(recordings))
        return sum(results.get())
    finally:
        pool.terminate()
        pool.join()


def _speak_job(job: _Job) -> float:
    """Write some recordings; returns their length in seconds."""
    import soxr

    folder, recordings, settings = job
    rate = settings.sample_rate_hz
    synthesiser = Synthesiser()
    num_samples = 0
    for recording in recordings:
        spoken = synthesiser.synthesise(recording.sentence.english, recording.voice)
        samples = soxr.resample(spoken, synthesiser.sample_rate_hz, rate).clip(-1, 1)
        for audio in recording.audios(settings):
            sound = telephone(samples, rate) if audio.endswith("-telephone.flac") else samples
            with reporting(folder / audio):
                (folder / audio).write_bytes(flac(sound, rate))
            num_samples += len(samples)
    return num_samples / rate


def telephone(samples: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    """Return what a telephone leaves of a recording, float32 ``[N]``: 300 to 3,400 Hz.

    The band is that of narrow-band telephony (ITU-T recommendation G.712).
    """
    spectrum = np.fft.rfft(samples)
    frequencies = np.fft.rfftfreq(len(samples), 1 / sample_rate_hz)
    low, high = _TELEPHONE_BAND_HZ
    spectrum[(frequencies < low) | (frequencies > high)] = 0
    return np.fft.irfft(spectrum, len(samples)).clip(-1, 1).astype(np.float32)


def _described(settings: EmbeddedCorpusSettings) -> dict[str, object]:
    """The settings as the marker holds them."""
    described = json.loads(json.dumps(asdict(settings)))
    # Left out where they change nothing: corpora from before these fields are still complete.
    for field in fields(settings):
        if field.name in _LATER_FIELDS and described[field.name] == field.default:
            del described[field.name]
    return described


def _settings_of(marker: Path) -> object:
    """The settings of the corpus that ``marker`` completes, or None."""
    try:
        return json.loads(marker.read_text(encoding="utf-8")).get("settings")
    except (OSError, ValueError, AttributeError):
        return None


def _written_earlier(folder: Path) -> list[str]:
    """Return what a version that kept no record wrote, if it is a whole corpus of it."""
    described = _settings_of(folder / "complete.json")
    readme = folder / "README.txt"
    if not isinstance(described, dict) or not readme.is_file():
        return []
    if not readme.read_text("utf-8", "replace").startswith(_README_TITLE):
        return []
    try:
        settings = settings_file.from_mapping(EmbeddedCorpusSettings, described)
    except ExperimentError:
        return []
    audios = [name for recording in plan(settings) for name in recording.audios(settings)]
    return [name for name in _WRITTEN if name != "audio"] + audios


def _readme(settings: EmbeddedCorpusSettings) -> str:
    names = [", ".join(voice.name for voice in split) for split in _voices(settings)]
    lines = [
        _README_TITLE,
        "",
        "No human spoke or translated this. The English sentences come from the grammar inside",
        "taskaware, their translations from its rules, and the speech from espeak-ng's voices.",
        "Scores on it show that a method works; they say nothing about real speech.",
        "",
        f"Languages: en to {', '.join(settings.languages)}. Seed {settings.seed}.",
        f"train: {counted(settings.num_train_sentences, 'sentence')}, voices {names[0]}",
        f"dev:   {counted(settings.num_dev_sentences, 'sentence')}, voices {names[1]}",
        f"test:  {counted(settings.num_test_sentences, 'sentence')}, voices {names[2]}",
        "Sentences and voices of a split occur in no other split.",
        *_notes(settings),
        "",
        "Licence: sentences and translations are part of taskaware (MIT). espeak-ng is licensed",
        "under GPL-3.0-or-later, which does not extend to the sound it makes.",
    ]
    return "\n".join(lines) + "\n"


def _notes(settings: EmbeddedCorpusSettings) -> Iterator[str]:
    """What else the readme has to say."""
    if settings.num_ciphers:
        codes = [cipher.code for cipher in ciphers(settings.num_ciphers)]
        yield ""
        yield f"CIPHERS, NOT LANGUAGES: {', '.join(codes)}."
        yield "Each is English whose words are replaced, one by one, by made-up words."
    if settings.one_dataset_a_task:
        yield ""
        yield f"Each train sentence serves one task; its dataset is {_DATASET}_TASK."
        yield "Dev and test sentences serve all tasks."
    if settings.telephone_st:
        yield ""
        yield "The recordings of speech translation sound as through a telephone (300 to 3,400 Hz)."
