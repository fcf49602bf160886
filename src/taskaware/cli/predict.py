"""``taskaware predict``: recordings, texts or standard input, to one or all tasks."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from taskaware.cli.numbers import Count
from taskaware.errors import AudioError, UserError

if TYPE_CHECKING:
    from taskaware.decoding.scoring import DecodingSettings
    from taskaware.inference import TaskAwareModel
    from taskaware.types import Modality, Task

_TEXTS_TOGETHER = 64


def predict(
    model: Path,
    /,
    *files: Annotated[Path, Parameter(allow_leading_hyphen=True)],
    text: Annotated[tuple[str, ...], Parameter(negative=(), show_default=False)] = (),
    task: Annotated[tuple[str, ...], Parameter(negative=(), show_default=False)] = (),
    which: str = "model",
    output: Literal["text", "jsonl"] = "text",
    beam: Count | None = None,
    num_best: Count = 1,
    device: Literal["auto", "cpu", "cuda"] = "auto",
) -> int:
    """Run a model on recordings and texts.

    Recordings (wav, flac, mp3, ogg, NIST sphere; any rate) go to the speech tasks; each line of a
    text file goes to the text tasks. `-` is standard input: text lines, or a recording.

    Parameters
    ----------
    model
        A model's folder, or a run's.
    files
        Recordings, text files, or `-`.
    text
        A text given here; the option can be repeated.
    task
        The tasks to run (default: every task that fits the source); the option can be repeated.
    which
        Which of a run's models: model, best, average, taskwise/TASK.
    output
        `text`: one line each; `jsonl`: one JSON object each, with scores.
    beam
        Beam width (default: the model's own; 1 is greedy).
    num_best
        Outputs for each source.
    device
        Where to compute; auto: a CUDA device where there is one.
    """
    from taskaware.inference import with_beam
    from taskaware.run_models import run_model

    for file in files:
        if str(file).startswith("-") and str(file) != "-":
            raise UserError(f"`{file}` is not an option of predict; see taskaware predict --help")
    if not files and not text:
        raise UserError("a recording, a text file, `-` or --text must be given, but there is none")
    loaded = run_model(model, which, device=device)
    tasks = [loaded.task(name) for name in task] or list(loaded.tasks)
    decoding = with_beam(loaded.decoding, beam, num_best)
    failed = False
    for modality, sources in _groups(_sources(loaded, files, text)):
        fitting = [one for one in tasks if one.source_modality == modality]
        failed |= not _predict(loaded, modality, sources, fitting, decoding, output)
    return 1 if failed else 0


def _groups(
    sources: Iterator[tuple[str, Modality, Any]],
) -> Iterator[tuple[Modality, list[tuple[str, Any]]]]:
    """Put texts that follow one another together: they are decoded faster so."""

    def modality_of(source: tuple[str, Modality, Any]) -> Modality:
        return source[1]

    for modality, run in itertools.groupby(sources, key=modality_of):
        size = _TEXTS_TOGETHER if modality == "text" else 1
        named = ((name, source) for name, _, source in run)
        while group := list(itertools.islice(named, size)):
            yield modality, group


def _predict(
    model: TaskAwareModel,
    modality: Modality,
    sources: list[tuple[str, Any]],
    tasks: list[Task],
    decoding: DecodingSettings,
    output: str,
) -> bool:
    """Print the outputs of every task for each source; return whether all went well."""
    if not tasks:
        print(f"taskaware: {sources[0][0]}: no task asked for takes {modality}", file=sys.stderr)
        return False
    try:
        found = {
            task.name: model.run_many(
                task.name, [source for _, source in sources], decoding=decoding
            )
            for task in tasks
        }
    except AudioError as error:
        print(f"taskaware: {error}", file=sys.stderr)
        return False
    for number, (name, _) in enumerate(sources):
        for task in tasks:
            for rank, hypothesis in enumerate(found[task.name][number], start=1):
                _print(output, name, task, rank, hypothesis, alone=len(tasks) == 1)
    return True


def _sources(
    model: TaskAwareModel, files: tuple[Path, ...], texts: tuple[str, ...]
) -> Iterator[tuple[str, Modality, Any]]:
    from taskaware.sources import AUDIO_SUFFIXES

    for text in texts:
        yield text, "text", text
    for path in files:
        suffix = path.suffix.lower()
        if str(path) == "-":
            yield from _standard_input(model)
        elif suffix == ".npy":
            yield str(path), "features", path
        elif suffix in AUDIO_SUFFIXES:
            yield str(path), "speech", path
        else:
            try:
                # Not splitlines: a text may hold U+2028 and the like.
                lines = path.read_text(encoding="utf-8").split("\n")
            except (OSError, UnicodeDecodeError) as error:
                raise UserError(
                    f"{path} must be a recording ({', '.join(sorted(AUDIO_SUFFIXES))}), features "
                    f"(.npy) or UTF-8 text, but: {error}"
                ) from error
            yield from _lines(lines)


def _standard_input(model: TaskAwareModel) -> Iterator[tuple[str, Modality, Any]]:
    """Text lines, or a recording where the bytes are no UTF-8 text."""
    import io

    content = sys.stdin.buffer.read()
    try:
        lines = content.decode("utf-8").replace("\r\n", "\n").split("\n")
    except UnicodeDecodeError:
        from taskaware.data import audio

        rate = model.feature_settings.sample_rate_hz
        yield "-", "speech", audio.read(io.BytesIO(content), sample_rate_hz=rate)
        return
    yield from _lines(lines)


def _lines(lines: list[str]) -> Iterator[tuple[str, Modality, Any]]:
    for line in lines:
        if line.strip():
            yield line, "text", line


def _print(output: str, name: str, task: Task, rank: int, hypothesis: Any, *, alone: bool) -> None:
    if output == "text":
        print(hypothesis.text if alone else f"{task.name}\t{hypothesis.text}", flush=True)
        return
    import json

    line = {
        "source": name,
        "task": task.name,
        "rank": rank,
        "text": hypothesis.text,
        "score": hypothesis.score,
        "log_prob": hypothesis.log_prob,
        "finished": hypothesis.finished,
    }
    print(json.dumps(line, ensure_ascii=False), flush=True)
