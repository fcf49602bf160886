"""From manifests to a prepared folder: checks, one vocabulary, features, a report.

The folder gets ``vocabulary.model``, for each split a folder of shards, ``report.tsv``, and last
``prepared.json``, which marks the folder as complete. A preparation that was broken off goes on
after its last complete shard. Memory does not grow with the manifests, but for 16 bytes a line.
"""

from __future__ import annotations

import hashlib
import json
import re
from contextlib import closing
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taskaware.data.prepare import extraction
from taskaware.data.prepare.encoding import require_usable_encoder
from taskaware.data.prepare.inputs import Filter, Inputs, Removed, kept_names, read_inputs
from taskaware.data.prepare.problems import ProblemReport
from taskaware.data.prepare.results import PrepareReport, SplitReport, complete_report
from taskaware.data.prepare.settings import PrepareSettings
from taskaware.data.prepare.split_writer import Journal, SplitWriter
from taskaware.data.prepared import folder as prepared
from taskaware.data.prepared.files import WORK_NAME, written_earlier, written_names
from taskaware.data.prepared.users import stale_runs
from taskaware.data.quality.checks import Finding
from taskaware.data.quality.cleaning import Cleaner
from taskaware.data.quality.overlap import HeldOut
from taskaware.data.quality.settings import CleaningSettings
from taskaware.data.vocabulary.vocabulary import Vocabulary, task_tag, too_large
from taskaware.errors import DataError, UserError
from taskaware.output_folder import claimed
from taskaware.settings import typed as settings_file
from taskaware.types import MODALITIES, TRAIN

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from taskaware.data.prepare.encoding import SourceEncoder
    from taskaware.output_folder import OutputFolder
    from taskaware.types import Example, StageProgress, Task

_SPLIT_NAME = re.compile(r"[\w-]+")
_SHARD_FILE = re.compile(rf"[\w-]+/({'|'.join(MODALITIES)})-\d+\..*")
_JOURNAL_NAME = "journal.jsonl"


def prepare(
    manifests: Mapping[str, Sequence[Path]],
    folder: Path,
    settings: PrepareSettings | None = None,
    *,
    vocabulary: Path | None = None,
    encoder: SourceEncoder | None = None,
    progress: StageProgress | None = None,
) -> PrepareReport:
    """Check manifests, compute features, and write a prepared folder.

    A complete folder from the same manifests, recordings (by size and time of change) and settings
    is left as it is; any other prepared folder is made again. Nothing that ``prepare`` did not
    write is deleted or written over.

    Args:
        manifests: The manifests of each split: ``"train"``, ``"dev"``, ``"test"`` or any name.
        folder: Where to write; made where it is missing.
        settings: How; ``None`` for the defaults.
        vocabulary: An existing vocabulary to use; without it, one is trained on the texts of train.
        encoder: Its outputs are stored in place of the features of recordings, each recording once.
        progress: Called as the work advances.

    Raises:
        UserError: There is no train split and no vocabulary, or a split's name is no file name; or
            an encoder has no recordings to encode, hears other features, or recordings are to be
            stored as well.
        ExperimentError: A setting has an impossible value.
        OutputError: The folder holds somebody's files, cannot be written, or another command is
            writing it.
        ManifestError: A manifest is not one, or manifests disagree about a task.
        DataError: More of a split is bad than ``settings.max_bad_share``, or nothing of it is left.
    """
    settings = settings or PrepareSettings()
    progress = progress or (lambda stage, done, total: None)
    folder = Path(folder)
    _check_request(manifests, vocabulary)
    settings_file.require_valid(settings)
    require_usable_encoder(encoder, settings)
    try:
        earlier = partial(written_earlier, folder)
        with claimed(folder, names=written_names(manifests), earlier=earlier) as output:
            try:
                return _prepare(manifests, output, settings, vocabulary, encoder, progress)
            except (UserError, DataError):
                if not (folder / WORK_NAME / _JOURNAL_NAME).exists():  # nothing to go on with
                    output.remove_below(WORK_NAME)
                raise
    except BrokenPipeError:
        raise  # of the display
    except OSError as error:
        raise DataError(
            f"{error.filename or folder}: cannot be read or written "
            f"({error.strerror or error}): correct that, then give the same command again; it "
            "resumes after its last complete shard"
        ) from error


def _prepare(
    manifests: Mapping[str, Sequence[Path]],
    output: OutputFolder,
    settings: PrepareSettings,
    vocabulary: Path | None,
    encoder: SourceEncoder | None,
    progress: StageProgress,
) -> PrepareReport:
    """Do the work in a folder that is claimed."""
    folder = output.path
    work = _begin_work(output, manifests)
    with closing(ProblemReport(work / prepared.REPORT_NAME)) as problems:
        held_out = HeldOut(settings.overlap)
        inputs = read_inputs(
            manifests,
            work,
            problems,
            progress,
            max_texts=settings.max_vocabulary_texts,
            look_at_held_out=held_out.add,
            train_filter=_train_filter(
                held_out, settings, has_later_splits=bool(set(manifests) - {TRAIN})
            ),
        )
        if encoder is not None and not inputs.has_speech:
            raise UserError("an encoder must have recordings to encode, but no example has one")
        fingerprint = _fingerprint(inputs, settings, vocabulary, encoder)
        complete = complete_report(folder, fingerprint)
        if complete is not None:
            problems.close()
            output.remove_below(WORK_NAME)
            return complete
        # Before the work as well as after it, so that a wrong manifest is refused at once, and
        # before the folder is touched.
        _refuse_overlap(output, problems, settings)
        _refuse_bad(output, inputs, problems, settings)
        journal = _begin(output, work, fingerprint)
        pieces = _make_vocabulary(inputs, settings, vocabulary, progress)
        output.write(prepared.VOCABULARY_NAME, pieces.model_bytes)
        num_columns = _num_feature_columns(inputs, settings)
        writer = SplitWriter(
            output=output,
            kept_folder=work,
            inputs=inputs,
            vocabulary=pieces,
            settings=settings,
            num_columns=num_columns,
            journal=journal,
            report=problems,
            progress=progress,
            encoder=encoder,
        )
        splits = {name: writer.write(name) for name in inputs.num_lines}
        _refuse_bad(output, inputs, problems, settings)
        _refuse_empty(splits, inputs.tasks)
    _publish_report(output, problems)
    report = PrepareReport(
        folder=folder,
        splits=splits,
        warnings=(
            *_warnings(inputs, pieces, is_new=vocabulary is None),
            *held_out.warnings(),
        ),
        vocabulary_size=pieces.size,
        reused=False,
    )
    about = _about(inputs.tasks, settings, pieces, num_columns, encoder)
    _write_marker(output, report, about, fingerprint)
    output.remove_below(WORK_NAME)
    output.forget()
    return replace(report, warnings=(*report.warnings, *stale_runs(folder)))


def _begin_work(output: OutputFolder, splits: Iterable[str]) -> Path:
    """Return the folder of unfinished work, its files recorded as ours."""
    for name in (prepared.REPORT_NAME, _JOURNAL_NAME, *kept_names(splits)):
        output.begin(f"{WORK_NAME}/{name}")
    return output.path / WORK_NAME


def _train_filter(
    held_out: HeldOut, settings: PrepareSettings, *, has_later_splits: bool
) -> Filter:
    """Return what decides about each example of train: cleaning first, then overlap."""
    cleaner = Cleaner(settings.cleaning)
    cleans = settings.cleaning != CleaningSettings()

    def accept(example: Example, task: Task) -> Example | Removed:
        cleaned = cleaner.clean(example, task) if cleans else example
        if isinstance(cleaned, Finding):
            return Removed(by="cleaning", finding=cleaned)
        finding = held_out.find(cleaned, task.modality.column) if has_later_splits else None
        if finding is not None and settings.overlap.action != "allow":
            return Removed(by="overlap", finding=finding)
        return cleaned

    return accept


def _begin(output: OutputFolder, work: Path, fingerprint: str) -> Journal:
    """Make the folder incomplete, and find what of it is done already."""
    journal = Journal(work / _JOURNAL_NAME, fingerprint)
    if not journal.entries:
        # The splits of an earlier preparation may be of other names.
        output.remove([name for name in output.written if _SHARD_FILE.fullmatch(name)])
    output.remove([prepared.MARKER_NAME] if output.owns(prepared.MARKER_NAME) else [])
    return journal


def _check_request(manifests: Mapping[str, Sequence[Path]], vocabulary: Path | None) -> None:
    if TRAIN not in manifests and vocabulary is None:
        raise UserError(
            "a train manifest must be given, or an existing vocabulary, but neither is given"
        )
    for name, paths in manifests.items():
        if not _SPLIT_NAME.fullmatch(name):
            raise UserError(
                f"a split's name must be of letters, digits and any of _-, but is '{name}'"
            )
        if not paths:
            raise UserError(f"the split '{name}' must have a manifest, but has none")


def _fingerprint(
    inputs: Inputs,
    settings: PrepareSettings,
    vocabulary: Path | None,
    encoder: SourceEncoder | None,
) -> str:
    """Return a hash of all that decides what a prepared folder holds."""
    decisive: dict[str, Any] = {
        "format": prepared.FORMAT_VERSION,
        "inputs": inputs.sha256,
        "settings": asdict(replace(settings, num_workers=0)),
        "vocabulary": None if vocabulary is None else Vocabulary.load(vocabulary).sha256,
        "tags": [],  # an earlier version could have others than the tasks'
    }
    if encoder is not None:
        decisive["encoder"] = encoder.record.sha256
        if encoder.record.precision != "float32":  # all that earlier versions knew
            decisive["encoder_precision"] = encoder.record.precision
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


def _make_vocabulary(
    inputs: Inputs,
    settings: PrepareSettings,
    vocabulary: Path | None,
    progress: StageProgress,
) -> Vocabulary:
    if vocabulary is not None:
        return Vocabulary.load(vocabulary)
    progress("vocabulary", 0, 1)
    tags = [task_tag(task.name) for task in inputs.tasks]
    pieces = Vocabulary.train(inputs.texts.texts(), size=settings.vocabulary_size, tags=tags)
    progress("vocabulary", 1, 1)
    return pieces


def _num_feature_columns(inputs: Inputs, settings: PrepareSettings) -> int:
    """Return F of all sources: of the speech, else of the first NumPy file, else 0."""
    if inputs.has_speech:
        return settings.features.num_mel_bins
    widths = (extraction.num_feature_columns(path) for path in inputs.feature_paths)
    return next((width for width in widths if width is not None), 0)


def _refuse_overlap(
    output: OutputFolder, problems: ProblemReport, settings: PrepareSettings
) -> None:
    """Stop where train has what a later split has, unless the user said what to do with it."""
    number = problems.num_removed(TRAIN).get("overlap", 0)
    if number == 0 or settings.overlap.action != "refuse":
        return
    path = _publish_report(output, problems)
    first = problems.first_removed(TRAIN, "overlap")
    raise DataError(
        f"train must not have examples of another split, but has {number:,}; the first: {first}\n"
        f"{path} lists them all: correct the manifests, "
        "leave them out (--overlap drop), or keep them (--overlap allow)"
    )


def _refuse_bad(
    output: OutputFolder, inputs: Inputs, problems: ProblemReport, settings: PrepareSettings
) -> None:
    """Stop where more of a split is bad than the user allows."""
    for name, num_lines in inputs.num_lines.items():
        num_bad = problems.num_bad(name)
        if num_bad <= settings.max_bad_share * num_lines:
            continue
        path = _publish_report(output, problems)
        raise DataError(
            f"at most {settings.max_bad_share:.1%} of the lines of the split '{name}' may be bad "
            f"(max_bad_share), but {num_bad} of {num_lines} are ({num_bad / num_lines:.1%}); "
            f"most common:{problems.common_reasons(name)}\n{path} lists them all: "
            "correct them, or raise max_bad_share to leave them out"
        )


def _publish_report(output: OutputFolder, problems: ProblemReport) -> Path:
    """Bring the report to where users look for it."""
    problems.close()
    return output.copy(problems.path, prepared.REPORT_NAME)


def _refuse_empty(splits: Mapping[str, SplitReport], tasks: Sequence[Task]) -> None:
    for name, split in splits.items():
        if not split.examples:
            raise DataError(f"the split '{name}' must have an example, but has none left")
    for task in tasks:
        if TRAIN in splits and task.name not in splits[TRAIN].examples:
            raise DataError(
                f"the task '{task.name}' must have an example in train, but has none, or none is "
                "left"
            )


def _warnings(inputs: Inputs, vocabulary: Vocabulary, *, is_new: bool) -> list[str]:
    # A pretrained model's has pieces of its own for that.
    tasks = [] if vocabulary.family else inputs.tasks
    without = [task.name for task in tasks if not vocabulary.has_tag(task_tag(task.name))]
    found = [
        f"the vocabulary has no piece for the task '{name}'; the cue `target_tag` would need it"
        for name in without
    ]
    remark = too_large(vocabulary, inputs.texts.texts()) if is_new else ""
    return [*found, remark] if remark else found


def _about(
    tasks: Sequence[Task],
    settings: PrepareSettings,
    vocabulary: Vocabulary,
    num_columns: int,
    encoder: SourceEncoder | None,
) -> dict[str, Any]:
    """Return what ``prepared.json`` says of what all splits share."""
    about: dict[str, Any] = {
        "tasks": [asdict(task) for task in tasks],
        "settings": asdict(settings),
        "num_feature_columns": num_columns,
        "vocabulary_sha256": vocabulary.sha256,
        "vocabulary_size": vocabulary.size,
    }
    if encoder is not None:
        about["encoder"] = asdict(encoder.record)
    return about


def _write_marker(
    output: OutputFolder, report: PrepareReport, about: Mapping[str, Any], fingerprint: str
) -> None:
    """Write ``prepared.json``, in one step: its presence means that all else is there."""
    marker: dict[str, Any] = {
        "format": prepared.FORMAT_VERSION,
        "fingerprint": fingerprint,
        **about,
        "splits": {name: asdict(split) for name, split in report.splits.items()},
        "warnings": list(report.warnings),
    }
    marker["content_fingerprint"] = prepared.content_fingerprint(marker)  # for other programs
    text = json.dumps(marker, indent=2, ensure_ascii=False)
    output.write(prepared.MARKER_NAME, text.encode(), noted=False)
