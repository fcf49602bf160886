"""``taskaware predict``: recordings, texts or standard input, to one or all tasks."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from taskaware.errors import AudioError, UserError

if TYPE_CHECKING:
    from taskaware.inference import TaskAwareModel
    from taskaware.types import Modality, Task

_TEXT_SUFFIXES = frozenset({".txt", ".text", ".md", ""})


def predict(
    model: Path,
    /,
    *files: Annotated[Path, Parameter(allow_leading_hyphen=True)],
    text: Annotated[tuple[str, ...], Parameter(negative=(), show_default=False)] = (),
    task: Annotated[tuple[str, ...], Parameter(negative=(), show_default=False)] = (),
    output: Literal["text", "jsonl"] = "text",
    beam: int | None = None,
    num_best: int = 1,
    device: str = "cpu",
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
    output
        `text`: one line each; `jsonl`: one JSON object each, with scores.
    beam
        Beam width (default: the model's own; 1 is greedy).
    num_best
        Outputs for each source.
    device
        cpu or cuda.
    """
    from taskaware.inference import with_beam
    from taskaware.runs import run_model

    for file in files:
        if str(file).startswith("-") and str(file) != "-":
            raise UserError(f"`{file}` is not an option of predict; see taskaware predict --help")
    if not files and not text:
        raise UserError("a recording, a text file, `-` or --text must be given, but there is none")
    loaded = run_model(model, device=device)
    tasks = [loaded.task(name) for name in task] or list(loaded.tasks)
    decoding = with_beam(loaded.decoding, beam, num_best)
    failed = 0
    for name, modality, source in _sources(loaded, files, text):
        fitting = [one for one in tasks if one.source_modality == modality]
        if not fitting:
            failed += 1
            print(f"taskaware: {name}: no task asked for takes {modality}", file=sys.stderr)
        for one in fitting:
            try:
                hypotheses = loaded.run_many(one.name, [source], decoding=decoding)[0]
            except AudioError as error:
                failed += 1
                print(f"taskaware: {error}", file=sys.stderr)
                break
            for rank, hypothesis in enumerate(hypotheses, start=1):
                _print(output, name, one, rank, hypothesis, alone=len(fitting) == 1)
    return 1 if failed else 0


def _sources(
    model: TaskAwareModel, files: tuple[Path, ...], texts: tuple[str, ...]
) -> Iterator[tuple[str, Modality, Any]]:
    for text in texts:
        yield text, "text", text
    for path in files:
        if str(path) == "-":
            yield from _standard_input(model)
        elif path.suffix.lower() == ".npy":
            yield str(path), "features", path
        elif path.suffix.lower() in _TEXT_SUFFIXES:
            try:
                lines = path.read_text(encoding="utf-8").splitlines()
            except (OSError, UnicodeDecodeError) as error:
                raise UserError(
                    f"{path} must be a readable UTF-8 text file, but: {error}"
                ) from error
            yield from _texts(lines)
        else:
            yield str(path), "speech", path


def _standard_input(model: TaskAwareModel) -> Iterator[tuple[str, Modality, Any]]:
    """Text lines, or a recording where the bytes are no UTF-8 text."""
    import io

    content = sys.stdin.buffer.read()
    try:
        lines = content.decode("utf-8").splitlines()
    except UnicodeDecodeError:
        from taskaware.data import audio

        rate = model.feature_settings.sample_rate_hz
        yield "-", "speech", audio.read(io.BytesIO(content), sample_rate_hz=rate)
        return
    yield from _texts(lines)


def _texts(lines: list[str]) -> Iterator[tuple[str, Modality, Any]]:
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
