"""``taskaware predict``: recordings, texts, manifests or standard input, to one or all tasks."""

from __future__ import annotations

import sys
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from taskaware.cli.display import stage_display
from taskaware.cli.numbers import Count
from taskaware.cli.predict_long import TIMED_FORMS, LongJob, remarks, timed_outputs
from taskaware.cli.printable import printable
from taskaware.errors import OutputError, TaskawareError, UserError

if TYPE_CHECKING:
    from taskaware.cli.predict_inputs import Input, Item
    from taskaware.cli.predict_output import Writer
    from taskaware.data.sound.sound_blocks import LongSound
    from taskaware.decoding.settings import DecodingSettings
    from taskaware.inference.model import TaskAwareModel
    from taskaware.inference.sources import Hearing, ReadSource
    from taskaware.types import Task

_TEXTS_TOGETHER = 64
_RECORDINGS_TOGETHER = 16


def predict(
    model: Path,
    /,
    *files: Annotated[str | Path, Parameter(allow_leading_hyphen=True)],
    text: Annotated[tuple[str, ...], Parameter(negative=(), show_default=False)] = (),
    task: Annotated[tuple[str, ...], Parameter(negative=(), show_default=False)] = (),
    which: str = "model",
    input: Literal["auto", "text", "manifest"] = "auto",
    output: Literal["text", "jsonl", "srt", "vtt", "tsv", "ctm", "stm"] = "text",
    to: Path | None = None,
    times: bool = False,
    segmentation: Literal["auto", "pauses", "divide", "windows"] = "auto",
    detector: Literal["auto", "silero", "level"] = "auto",
    greatest_seconds: float | None = None,
    beam: Count | None = None,
    num_best: Count = 1,
    channel: str = "mean",
    device: Literal["auto", "cpu", "cuda"] = "auto",
    weights: Literal["float32", "bfloat16", "int8"] = "float32",
) -> int:
    """Run a model on recordings and texts.

    Recordings (wav, flac, mp3, ogg, NIST sphere; any rate) go to the speech tasks; each line of a
    text file goes to the text tasks; each line of a manifest (tsv, csv, jsonl), which needs no
    targets, goes to its task. `-` is standard input: text lines, or a recording.

    There is one line out for each line in: an empty one for an empty one, and a line break within
    an output is written as a space (JSON lines keep it). Where there are several files, tasks or
    outputs for a source, labels come first, separated by tabs, and only those that are needed:
    the file, the task, the rank.

    A recording may have any length: what is too long for the model is cut at pauses, decoded in
    parts, and put together. Subtitles and other forms with times are written for recordings alone,
    to standard output, or to a file each in the folder `--to`.

    Parameters
    ----------
    model
        A model's folder, or a run's.
    files
        Recordings, text files, manifests, or `-`.
    text
        A text given here; the option can be repeated.
    task
        The tasks to run (default: every task that fits the source); the option can be repeated. Of
        a manifest that names tasks, the lines of other tasks are left out.
    which
        Which of a run's models: model, best, average, taskwise/TASK.
    input
        How to read a file that is no recording: `auto`: a manifest where it is one, else text; or
        always as `text`, or as a `manifest`.
    output
        `text`: one line each; `jsonl`: one JSON object each, with scores and warnings; `srt`,
        `vtt`: subtitles; `tsv`: start, end (in ms) and text of each segment; `ctm`: each word;
        `stm`: each segment.
    to
        The folder for the files of the last five; nobody's file there is written over.
    times
        With `jsonl`: times of segments and words of every recording, not only of long ones.
    segmentation
        How long recordings are cut. `pauses`: at pauses, into few, long parts; `divide`: where
        speech is least likely, as for translation (SHAS); `windows`: into parts that overlap;
        `auto`: `divide` for translation, else `pauses`.
    detector
        Who hears where somebody speaks: `silero` (the extra `long`), `level`, the loudness alone,
        or `auto`, the first where it is installed.
    greatest_seconds
        The longest part (default: 28, for `divide` 18; less where the model hears less).
    beam
        Beam width (default: the model's own; 1 is greedy).
    num_best
        Outputs for each source: at most as many as `--beam`; without it, the beam is as wide as
        they need.
    channel
        The channel of recordings that is heard: a number from 1, or the `mean` of all.
    device
        Where to compute; auto: a CUDA device where there is one.
    weights
        What the model computes with: bfloat16 and int8 are faster on processors that have
        instructions for them, and nearly as exact.
    """
    from taskaware.cli.predict_inputs import open_inputs
    from taskaware.cli.predict_output import Labels, Writer
    from taskaware.decoding.settings import with_beam
    from taskaware.inference.model import load
    from taskaware.inference.recordings.settings import LongRecordingSettings
    from taskaware.inference.sources import Hearing
    from taskaware.settings import typed

    # Shells complete what may be a path; a word comes as it was typed, since ./-x is no option.
    for file in map(str, files):
        if file.startswith("-") and file != "-":
            raise UserError(
                f"`{file}` is not an option of predict; see taskaware predict --help. A file of "
                f"that name is given as ./{file}"
            )
    if not files and not text:
        raise UserError("a recording, a text file, `-` or --text must be given, but there is none")
    hearing = Hearing.of(channel=channel)
    loaded = load(model, which=which, device=device, weights=weights)
    chosen = tuple(dict.fromkeys(loaded.task(name).name for name in task))
    decoding = with_beam(loaded.decoding, beam, num_best)
    if to is not None and output not in TIMED_FORMS:
        raise UserError(
            f"--to is for --output {', '.join(TIMED_FORMS)}, but the output is {output}: send it "
            "to a file (> FILE)"
        )
    settings = LongRecordingSettings(
        segmentation=segmentation, detector=detector, greatest_seconds=greatest_seconds
    )
    typed.require_valid(settings, where="long recording")
    inputs = open_inputs(tuple(map(Path, files)), text, input)
    num_tasks = max(len(_tasks_of(loaded, one, chosen)) for one in inputs)
    labels = Labels(file=len(inputs) > 1, task=num_tasks > 1, rank=num_best > 1)
    with ExitStack() as stack:
        timed = None
        if output in TIMED_FORMS:
            timed = stack.enter_context(timed_outputs(output, to, inputs, num_tasks))
        long = LongJob(loaded, decoding, hearing, settings, timed, every=times)
        form = "jsonl" if output == "jsonl" else "text"
        job = _Job(loaded, chosen, decoding, hearing, Writer(form, labels), long)
        for one in inputs:
            job.run(one)
    return 1 if job.failed else 0


def _tasks_of(model: TaskAwareModel, one: Input, chosen: tuple[str, ...]) -> list[Task]:
    """Return the tasks that an input may go to."""
    return [
        task
        for task in model.tasks
        if task.source_modality in one.modalities
        and task.name in (chosen or (task.name,))
        and (one.tasks is None or task.name in one.tasks)
    ]


class _Job:
    """Runs a model on inputs, one after the other.

    Attributes:
        failed: Whether any source has no output.
    """

    def __init__(
        self,
        model: TaskAwareModel,
        chosen: tuple[str, ...],
        decoding: DecodingSettings,
        hearing: Hearing,
        writer: Writer,
        long: LongJob,
    ) -> None:
        self.failed = False
        self._model = model
        self._chosen = chosen
        self._decoding = decoding
        self._hearing = hearing
        self._writer = writer
        self._long = long
        self._said: set[str] = set()

    def run(self, one: Input) -> None:
        """Write the outputs for every source of an input."""
        from taskaware.cli.predict_inputs import grouped

        if one.modalities and not _tasks_of(self._model, one, self._chosen):
            self._fail(f"{one.name}: {self._why_no_task(one)}")
            return
        size = _TEXTS_TOGETHER if "text" in one.modalities else _RECORDINGS_TOGETHER
        done = 0
        # Where the outputs themselves are on the terminal, they show how far it is.
        with nullcontext() if sys.stdout.isatty() or one.total == 1 else stage_display() as display:
            self._long.display = display
            for group in grouped(one.items, size):
                self._group(group)
                self._writer.flush()
                done += len(group)
                if display is not None and one.total is not None:
                    display(one.name.rpartition("/")[2], done, one.total)
        if not done:
            self._warn(f"{one.name} is empty, so there is no output")

    def _why_no_task(self, one: Input) -> str:
        """Return why nothing of an input can be used."""
        takes = " or ".join(sorted(one.modalities))
        if one.tasks is None:
            if self._chosen:
                return f"no task asked for takes {takes} ({', '.join(self._chosen)})"
            tasks = ", ".join(f"{task.name} ({task.source_modality})" for task in self._model.tasks)
            return f"the model has no task that takes {takes}: its tasks are {tasks}"
        named, known = ", ".join(sorted(one.tasks)), [task.name for task in self._model.tasks]
        if self._chosen and set(one.tasks) & set(known):
            return (
                f"must have lines of {', '.join(self._chosen)}, but all are of {named}; without "
                "the column `task` every line goes to every task that fits"
            )
        return (
            f"its lines are of {named}, but the model has no such task for {takes}: its tasks are "
            f"{', '.join(known)}"
        )

    def _group(self, items: list[Item]) -> None:
        """Write the outputs for sources of one kind."""
        first = items[0]
        if first.task and self._chosen and first.task not in self._chosen:
            return
        tasks = self._tasks(first)
        problem = first.problem or ("" if tasks else self._no_task(first))
        if problem:
            for item in items:
                self._failure(item, item.task, item.problem or problem)
            return
        long = {i: self._long.opened(item, tasks) for i, item in enumerate(items)}
        read = [
            self._read(item, tasks[0]) if long[i] is None else "" for i, item in enumerate(items)
        ]
        usable = [one for one in read if isinstance(one, _ReadItem)]
        for one in usable:
            for task in tasks:
                for doubt in self._model.doubts(one.read, task):
                    self._warn(f"{one.item.place}: {doubt}")
        found = {
            task.name: iter(
                self._model.decode_read(task, [one.read for one in usable], decoding=self._decoding)
            )
            for task in tasks
        }
        for item, one, sound in zip(items, read, long.values(), strict=True):
            for task in tasks:
                if sound is not None:
                    self._transcript(item, task, sound)
                elif isinstance(one, _ReadItem):
                    doubts = self._model.doubts(one.read, task)
                    self._writer.outputs(item, task.name, next(found[task.name]), doubts)
                else:
                    self._failure(item, task.name, one)

    def _transcript(self, item: Item, task: Task, sound: LongSound | TaskawareError) -> None:
        """Write the output for a recording that is decoded in parts."""
        try:
            if isinstance(sound, TaskawareError):
                raise sound
            transcript = self._long.run(item, task, sound, self._writer)
        except OutputError:
            raise
        except TaskawareError as error:
            if self._long.writes_times:
                self._fail(str(error))
            else:
                self._failure(item, task.name, str(error))
        else:
            for remark in remarks(transcript):
                self._warn(f"{item.place}: {remark}")

    def _tasks(self, item: Item) -> list[Task]:
        names = (item.task,) if item.task else self._chosen
        return [
            task
            for task in self._model.tasks
            if task.source_modality == item.modality and task.name in (names or (task.name,))
        ]

    def _no_task(self, item: Item) -> str:
        """Return why no task takes a source, while one takes others of the same input."""
        if not item.task:
            asked = "asked for" if self._chosen else "of the model"
            return f"no task {asked} takes {item.modality}"
        if item.task in [task.name for task in self._model.tasks]:
            return f"the task '{item.task}' does not take {item.modality}"
        return f"the model has no task '{item.task}'"

    def _read(self, item: Item, task: Task) -> _ReadItem | str:
        """Return a source as the model reads it, or why it cannot."""
        assert item.source is not None
        try:
            read = self._model.read_source(item.source, task.source_modality, hearing=self._hearing)
        except TaskawareError as error:
            return str(error)
        return _ReadItem(item, read)

    def _failure(self, item: Item, task: str, reason: str) -> None:
        has_place = item.line is None or reason.startswith(item.place)
        self._fail(reason if has_place and item.shown in reason else f"{item.place}: {reason}")
        self._writer.failure(item, task, reason)

    def _fail(self, message: str) -> None:
        self.failed = True
        self._say(message)

    def _warn(self, message: str) -> None:
        self._say(f"warning: {message}")

    def _say(self, message: str) -> None:
        """Print a message, once."""
        if message not in self._said:
            self._said.add(message)
            print(f"taskaware: {printable(message)}", file=sys.stderr)


class _ReadItem:
    """A source, and what the model reads of it."""

    def __init__(self, item: Item, read: ReadSource) -> None:
        self.item, self.read = item, read
