"""``taskaware prepare``: a corpus or manifests to a folder that training reads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from taskaware.cli.display import out, stage_display
from taskaware.cli.numbers import Count
from taskaware.errors import UserError
from taskaware.types import EncoderPrecision

if TYPE_CHECKING:
    from taskaware.data.corpora.rows import CorpusCounts
    from taskaware.data.prepare.encoding import SourceEncoder
    from taskaware.data.prepare.settings import PrepareSettings

_Manifests = Annotated[tuple[Path, ...], Parameter(negative=(), show_default=False)]
_Words = Annotated[tuple[str, ...], Parameter(negative=(), show_default=False)]
_NUM_REASONS = 10


def prepare(
    *arguments: Annotated[str, Parameter(show_default=False)],
    to: Path | None = None,
    from_: Annotated[Path | None, Parameter(name="--from")] = None,
    language: _Words = (),
    kind: Annotated[
        tuple[Literal["asr", "st", "mt"], ...], Parameter(negative=(), show_default=False)
    ] = (),
    manifests_only: Annotated[bool, Parameter(negative=())] = False,
    train: _Manifests = (),
    dev: _Manifests = (),
    test: _Manifests = (),
    vocabulary_size: Count | None = None,
    vocabulary: Path | None = None,
    encoder: Path | None = None,
    encoder_precision: EncoderPrecision = "float32",
    store: Literal["features", "audio"] | None = None,
    overlap: Literal["refuse", "drop", "allow"] | None = None,
    max_bad_share: float | None = None,
    max_seconds: float | None = None,
    settings: Path | None = None,
    fields: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Turn a corpus, or manifests, into a folder that `train` and `evaluate` read.

    `taskaware prepare must_c --from MUST-C --to data --overlap drop` reads a corpus as released;
    docs/data.md lists the corpora. `taskaware prepare --train a.tsv --dev b.tsv --to data` reads
    your own manifests. Every line is checked: bad lines are left out, counted, and listed in
    report.tsv. The same command resumes a stopped preparation.

    Parameters
    ----------
    arguments
        The name of a corpus; settings such as `cleaning.max_length_ratio=3`.
    to
        The folder to write.
    from_
        The corpus, unpacked.
    language
        A language of the corpus; repeat the option for several (default: all that it has).
    kind
        A kind of task; repeat the option for several (default: all that it has).
    manifests_only
        Only write the corpus's manifests, to be prepared together with others.
    train
        A manifest of the training data; repeat the option for several.
    dev
        A manifest of the validation data.
    test
        A manifest of the test data.
    vocabulary_size
        Word pieces to learn from the training texts (default 8000).
    vocabulary
        An existing vocabulary.model to use instead, for example a trained model's.
    encoder
        A model whose encoder hears the recordings: its outputs are stored instead of features, for
        trainings that start from this model and leave its encoder as it is. Texts are cut by its
        vocabulary, unless another one or a size is given.
    encoder_precision
        What that encoder computes in: bfloat16 is faster on machines that have it, and rounds.
    store
        What the folder keeps of speech: features, or recordings, which augmentation needs
        (default features).
    overlap
        What to do with training examples that another split has as well (default refuse).
    max_bad_share
        Stop if more than this share of the lines of a split is bad (default 0.05).
    max_seconds
        Leave out longer recordings (default 40).
    settings
        A TOML file with any of the settings.
    fields
        Print every setting with its meaning and default, as a TOML file, and stop.
    """
    from taskaware.data.prepare.settings import PrepareSettings
    from taskaware.output_folder import require_usable
    from taskaware.settings import typed as typed_settings
    from taskaware.settings.template import describe

    if fields:
        print(describe(PrepareSettings))
        return 0
    if to is None:
        raise UserError("the folder to write must be given: --to DIR")
    overrides = [argument for argument in arguments if "=" in argument]
    names = [argument for argument in arguments if "=" not in argument]
    options = {
        "vocabulary_size": vocabulary_size,
        "store": store,
        "overlap.action": overlap,
        "max_bad_share": max_bad_share,
        "checks.max_seconds": max_seconds,
    }
    overrides += [f"{name}={value}" for name, value in options.items() if value is not None]
    chosen = typed_settings.load(PrepareSettings, settings, overrides)
    if encoder is None and encoder_precision != "float32":
        raise UserError("--encoder-precision needs the model that encodes: --encoder MODEL")
    hears = None if encoder is None else (encoder, encoder_precision)
    manifests = {"train": train, "dev": dev, "test": test}
    given = {name: paths for name, paths in manifests.items() if paths}
    if not names:
        if from_ is not None:
            raise UserError("--from needs the name of a corpus: taskaware prepare NAME --from DIR")
        return _prepare(given, to, chosen, vocabulary, hears)
    if len(names) > 1 or given or from_ is None:
        raise UserError(
            "a corpus is prepared by one name and its folder, without manifests: "
            "taskaware prepare NAME --from DIR --to DIR; several corpora together: "
            "--manifests-only for each, then their manifests"
        )
    require_usable(to)  # before hours of work, not after them
    found = _read_corpus(names[0], from_, to / "manifests", language, kind)
    if manifests_only:
        return 0
    given = {name: (path,) for name, path in found.items()}
    return _prepare(given, to, chosen, vocabulary, hears)


def _read_corpus(
    name: str,
    corpus: Path,
    folder: Path,
    languages: tuple[str, ...],
    kinds: tuple[str, ...],
) -> dict[str, Path]:
    """Write a corpus's manifests; return them by split."""
    from taskaware.data.corpora.recipes import read_corpus
    from taskaware.data.corpora.rows import Request, write_manifests

    request = Request(folder=corpus, languages=languages)
    if kinds:
        request = Request(folder=corpus, languages=languages, kinds=kinds)
    rows = read_corpus(name, request)
    with stage_display() as progress:
        counts = write_manifests(rows, folder, lambda n: progress(f"read {name}", n, 0))
    _show_counts(counts, folder)
    splits = sorted({split for split, _ in counts.examples}, key=lambda split: split != "train")
    return {split: folder / f"{split}.jsonl" for split in splits}


def _show_counts(counts: CorpusCounts, folder: Path) -> None:
    from rich.table import Table

    console = out()
    known = ("train", "dev", "test")
    splits = sorted({split for split, _ in counts.examples}, key=lambda s: (s not in known, s))
    splits = [s for s in known if s in splits] + [s for s in splits if s not in known]
    table = Table("dataset", "task", *splits, title="examples", title_justify="left")
    for column in table.columns[2:]:
        column.justify = "right"
    for dataset, task in dict.fromkeys((dataset, task) for dataset, task, _ in counts.datasets):
        numbers = [counts.datasets[dataset, task, split] for split in splits]
        table.add_row(dataset, task, *(f"{number:,}" if number else "" for number in numbers))
    console.print(table)
    console.print(f"manifests: {folder}", highlight=False, soft_wrap=True)
    for (split, reason), number in counts.left_out.most_common(_NUM_REASONS):
        console.print(f"left out of {split}: {number:,} x {reason}", highlight=False)
    if counts.left_out:
        console.print(f"all of them: {folder / 'left_out.tsv'}", highlight=False, soft_wrap=True)


def _prepare(
    manifests: dict[str, tuple[Path, ...]],
    to: Path,
    settings: PrepareSettings,
    vocabulary: Path | None,
    hears: tuple[Path, EncoderPrecision] | None,
) -> int:
    from taskaware.data.prepare.folder import prepare as run_prepare
    from taskaware.data.prepare.settings import PrepareSettings
    from taskaware.data.sound.settings import FeatureSettings

    encoder = None
    if hears is not None:
        encoder_model, precision = hears
        encoder = _encoder(encoder_model, precision)
        if settings.features == FeatureSettings():  # nobody asked for others
            settings = replace(settings, features=encoder.features)
        if vocabulary is None and settings.vocabulary_size == PrepareSettings.vocabulary_size:
            found = (encoder_model / "model", encoder_model)
            files = [folder / "vocabulary.model" for folder in found]
            vocabulary = next((file for file in files if file.is_file()), None)
    with stage_display() as progress:
        report = run_prepare(
            manifests, to, settings, vocabulary=vocabulary, encoder=encoder, progress=progress
        )
    console = out()
    if report.reused:
        console.print(f"{to} is complete already.")
    for line in report.summary_lines():
        console.print(line, highlight=False)
    for warning in report.warnings:
        console.print(f"warning: {warning}", highlight=False)
    return 0


def _encoder(model: Path, precision: EncoderPrecision) -> SourceEncoder:
    from taskaware.inference.model import load
    from taskaware.inference.source_encoder import source_encoder

    return source_encoder(load(model), name=str(model), precision=precision)
