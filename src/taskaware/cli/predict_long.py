"""``predict`` for recordings of any length: transcripts with times, as lines or as files."""

from __future__ import annotations

import sys
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from taskaware.cli.display import StageDisplay, stage_display
from taskaware.errors import TaskawareError, UserError, counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from taskaware.cli.predict_inputs import Input, Item
    from taskaware.cli.predict_output import Writer
    from taskaware.data.sound.sound_blocks import LongSound
    from taskaware.decoding.settings import DecodingSettings
    from taskaware.inference.model import TaskAwareModel
    from taskaware.inference.recordings.settings import LongRecordingSettings
    from taskaware.inference.recordings.transcript import Transcript
    from taskaware.inference.sources import Hearing
    from taskaware.output_folder import OutputFolder
    from taskaware.types import Task

TimedForm = Literal["srt", "vtt", "tsv", "ctm", "stm"]
TIMED_FORMS: tuple[TimedForm, ...] = get_args(TimedForm)
_MAY_FOLLOW = ("ctm", "stm")  # forms that name the recording in each line, so that many fit a file


class TimedOutputs:
    """Writes transcripts in a form that has times: to standard output, or a file each.

    Use ``timed_outputs``.

    Args:
        form: The form.
        folder: Where files go; ``None``: to standard output.
        names_task: Whether the task is in the names of files: an input goes to several.
    """

    def __init__(self, form: TimedForm, folder: OutputFolder | None, *, names_task: bool) -> None:
        self._form = form
        self._folder = folder
        self._names_task = names_task
        self._taken: set[str] = set()

    def reserve(self, item: Item, task: str) -> str:
        """Return the name of the file for a recording and a task, which must be free.

        Raises:
            OutputError: Somebody's file has this name.
        """
        name = _name(item)
        of_task = f".{task}" if self._names_task else ""
        number, file = 1, f"{name}{of_task}.{self._form}"
        while file in self._taken:
            number += 1
            file = f"{name}-{number}{of_task}.{self._form}"
        self._taken.add(file)
        if self._folder is not None:
            self._folder.require_free([file])
        return file

    def write(self, file: str, item: Item, transcript: Transcript) -> None:
        """Write a transcript to the file that was reserved for it."""
        from taskaware.inference.recordings.formats import format_transcript

        text = format_transcript(transcript, self._form, recording=_name(item))
        if self._folder is None:
            sys.stdout.write(text)
            sys.stdout.flush()
        else:
            self._folder.write(file, text.encode("utf-8"))


def _name(item: Item) -> str:
    """Return what the files of a recording are called, without their ending."""
    line = "" if item.line is None else f"-{item.line}"
    name = str(item.fields.get("id") or "") or f"{Path(item.shown).stem}{line}"
    return name.replace("/", "_").replace("\0", "_").lstrip(".") or "recording"


@contextmanager
def timed_outputs(
    form: TimedForm, to: Path | None, inputs: Sequence[Input], num_tasks: int
) -> Iterator[TimedOutputs]:
    """Check that the outputs have a place, and hold it.

    Args:
        form: The form.
        to: The folder for files; ``None``: standard output.
        inputs: All that is read.
        num_tasks: Tasks that an input goes to, at most.

    Raises:
        UserError: Several outputs cannot go to standard output.
        OutputError: The folder cannot be written.
    """
    from taskaware.output_folder import claimed

    if to is not None:
        with claimed(to, whole=False) as folder:
            yield TimedOutputs(form, folder, names_task=num_tasks > 1)
        return
    is_one = len(inputs) == 1 and inputs[0].total == 1
    if num_tasks > 1 or not (is_one or form in _MAY_FOLLOW):
        what = "several tasks" if num_tasks > 1 else "several recordings"
        raise UserError(
            f"--output {form} of {what} must go to files, so --to FOLDER must be given"
            + (" (or --task, one task)" if num_tasks > 1 else "")
        )
    yield TimedOutputs(form, None, names_task=False)


class LongJob:
    """Decodes recordings in parts: those that are too long, or all where times are wanted.

    Args:
        model: The model.
        decoding: How to search.
        hearing: The channel of recordings.
        settings: How recordings are cut.
        timed: Where transcripts with times go; ``None``: outputs are lines.
        every: Whether short recordings get times as well.

    Attributes:
        display: Shows progress where several recordings are decoded.
    """

    def __init__(
        self,
        model: TaskAwareModel,
        decoding: DecodingSettings,
        hearing: Hearing,
        settings: LongRecordingSettings,
        timed: TimedOutputs | None,
        *,
        every: bool,
    ) -> None:
        self.display: StageDisplay | None = None
        self._model = model
        self._decoding = decoding
        self._hearing = hearing
        self._settings = settings
        self._timed = timed
        self._every = every or timed is not None

    @property
    def writes_times(self) -> bool:
        """Whether outputs are in a form with times, not lines."""
        return self._timed is not None

    def opened(self, item: Item, tasks: Sequence[Task]) -> LongSound | TaskawareError | None:
        """Return a recording that is decoded in parts, why it cannot be, or ``None`` if it is not.

        What cannot be opened is for the ordinary way to report, unless times are wanted.
        """
        from taskaware.inference.recordings.sources import open_recording
        from taskaware.inference.recordings.transcribing import is_long

        assert item.source is not None
        try:
            if not tasks[0].modality.is_recording:
                if self._timed is not None:
                    raise UserError(
                        f"{item.shown}: times are those of recordings, but it is {item.modality}"
                    )
                return None
            sound = open_recording(item.source, self._model.feature_settings, self._hearing)
        except TaskawareError as error:
            return error if self._timed is not None else None
        return sound if self._every or is_long(self._model, tasks, sound) else None

    def run(self, item: Item, task: Task, sound: LongSound, writer: Writer) -> Transcript:
        """Decode a recording and write what comes out.

        Raises:
            TaskawareError: It cannot be.
            OutputError: Somebody's file is where the output must go.
        """
        from taskaware.inference.recordings.transcribing import transcribe

        if self._decoding.num_best > 1:
            raise UserError(
                f"--num-best must be 1 for a recording that is decoded in parts, but is "
                f"{self._decoding.num_best}"
            )
        file = "" if self._timed is None else self._timed.reserve(item, task.name)
        with nullcontext(self.display) if self.display else stage_display() as display:
            transcript = transcribe(
                self._model,
                sound,
                task.name,
                self._settings,
                decoding=self._decoding,
                progress=lambda stage, done, total: display(
                    f"{Path(item.shown).name} {stage}, seconds", done, total
                ),
            )
        if self._timed is None:
            writer.transcript(item, transcript)
        else:
            self._timed.write(file, item, transcript)
        return transcript


def remarks(transcript: Transcript) -> list[str]:
    """Return what a user should know of how a transcript came about."""
    guarded = transcript.guarded
    said = list(transcript.warnings)
    if guarded.num_repeating:
        again = "itself and was" if guarded.num_repeating == 1 else "themselves and were"
        said.append(
            f"{guarded.num_repeating} of {counted(guarded.num_stretches, 'stretch', 'stretches')} "
            f"repeated {again} decoded again"
        )
    if guarded.num_silent:
        said.append(
            f"the text of {guarded.num_silent} of "
            f"{counted(guarded.num_stretches, 'stretch', 'stretches')} was left out, as nobody "
            "seems to speak there"
        )
    return said
