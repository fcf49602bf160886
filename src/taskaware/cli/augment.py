"""``taskaware augment``: synthetic targets, signals and speech; one step, or a whole recipe."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from taskaware.cli.display import StageDisplay, out, say, stage_display
from taskaware.cli.endings import code_of
from taskaware.cli.numbers import Count, Seed, Workers
from taskaware.cli.own_name import own_command
from taskaware.errors import UserError, counted
from taskaware.training.ending import Ending

if TYPE_CHECKING:
    from collections.abc import Callable

    from taskaware.augment.blocks import Written
    from taskaware.augment.recipe import RecipeResult
    from taskaware.augment.settings import TranslationModelSettings

app = App(
    name="augment",
    help="Make synthetic training examples: translations, changed signals, synthetic speech. With "
    "a recipe, run all its steps in order and join their outputs to a training set; finished steps "
    "are not repeated.",
    help_format="markdown",
)
_Several = Parameter(negative=(), show_default=False)


@app.default
def run(
    file: Path,
    /,
    *overrides: str,
    workers: Workers = 0,
    device: Literal["auto", "cpu", "cuda"] = "auto",
) -> int:
    """Run all steps of a recipe, in order, and join their outputs to a training set.

    Finished steps are not repeated; the same command resumes a stopped recipe.
    experiments/augmentation/paper.toml is the paper's recipe.

    Parameters
    ----------
    file
        The recipe.
    overrides
        Fields that override the recipe's: `seed=2`.
    workers
        Threads and processes that change signals and synthesise speech; 0: one per processor.
    device
        Where the models compute; auto: a CUDA device if there is one.
    """
    from taskaware.augment import settings as recipe_file
    from taskaware.augment.recipe import run_recipe

    recipe = recipe_file.load(file, overrides)

    def work(display: StageDisplay) -> int:
        result = run_recipe(recipe, device=device, num_workers=workers or None, progress=display)
        _show_recipe(result)
        return 0

    return _until_stopped(work)


@app.command
def translate(
    *,
    manifest: Annotated[tuple[Path, ...], _Several],
    model: Annotated[tuple[str, ...], _Several],
    task: str,
    to: Path,
    beams: Count | None = None,
    top: Count | None = None,
    replace: Literal["target", "source"] | None = None,
    of: Annotated[tuple[str, ...], _Several] = (),
    as_task: str | None = None,
    which: str = "model",
    examples_per_batch: Count | None = None,
    keep_unfinished: Annotated[bool, Parameter(negative=())] = False,
    device: Literal["auto", "cpu", "cuda"] = "auto",
) -> int:
    """Translate transcripts or texts with trained models and write the best outputs as examples.

    Transcripts become speech translation of the same recordings, texts become text translation.

    Parameters
    ----------
    manifest
        A manifest with the examples; repeat the option for several.
    model
        The folder of a model or a run, or NAME=FOLDER; repeat the option for several.
    task
        The models' task, e.g. mt_en_de.
    to
        The manifest to write (.jsonl).
    beams
        Width of the beam search (default 4).
    top
        Number of outputs to use of each model, best first (default 2).
    replace
        What the translation becomes: the target (default), or the source (back-translation).
    of
        Tasks of the manifests to translate (default: speech recognition in the models' source
        language, else the text tasks that fit).
    as_task
        Task name of the new examples (default: from kind and languages, e.g. st_en_de).
    which
        Which of a run's models: model, best, average, taskwise/TASK.
    examples_per_batch
        Texts to translate at a time (default 32).
    keep_unfinished
        Also use outputs that reached the length limit.
    device
        Where to compute; auto: a CUDA device if there is one.
    """
    from taskaware.augment.settings import TranslationSettings
    from taskaware.augment.translate import translate as run_step
    from taskaware.settings import typed as settings

    fields = _given(
        task=task, beams=beams, top=top, replace=replace, of=of or None, as_task=as_task,
        examples_per_batch=examples_per_batch, keep_unfinished=keep_unfinished or None,
    )  # fmt: skip
    chosen = settings.from_mapping(TranslationSettings, fields, where="the options")
    models = [_model(text, which) for text in model]
    _require_jsonl(to)
    return _until_stopped(
        lambda display: _show_step(
            run_step(manifest, to, models, chosen, device=device, progress=display)
        )
    )


@app.command
def speak(
    *,
    manifest: Annotated[tuple[Path, ...], _Several],
    to: Path,
    kind: Annotated[tuple[Literal["asr", "st"], ...], _Several] = (),
    voices: Count | None = None,
    of: Annotated[tuple[str, ...], _Several] = (),
    language: str | None = None,
    seed: Seed = 1,
    workers: Workers = 0,
) -> int:
    """Synthesise speech from the sources of text examples, with espeak-ng's voices.

    Parameters
    ----------
    manifest
        A manifest with the text examples; repeat the option for several.
    to
        The manifest to write (.jsonl); the recordings go to the folder of the same name.
    kind
        Kind of the new examples' tasks: st (default), asr; repeat the option for both.
    voices
        Recordings of each text, each by a different voice (default 1).
    of
        Text tasks to use (default: all whose source is in the language).
    language
        The language of the texts, as espeak-ng names it (default en).
    seed
        Seed for the choice of voices.
    workers
        Processes; 0: one per processor.
    """
    from taskaware.augment.settings import SpeechSettings
    from taskaware.augment.speak import speak as run_step
    from taskaware.settings import typed as settings

    fields = _given(kinds=kind or None, voices=voices, of=of or None, language=language)
    chosen = settings.from_mapping(SpeechSettings, fields, where="the options")
    _require_jsonl(to)
    return _until_stopped(
        lambda display: _show_step(
            run_step(manifest, to, chosen, seed=seed, num_workers=workers or None, progress=display)
        )
    )


@app.command
def signal(
    *,
    manifest: Annotated[tuple[Path, ...], _Several],
    to: Path,
    copies: Annotated[tuple[str, ...], _Several] = ("1",),
    of: Annotated[tuple[str, ...], _Several] = (),
    change: Annotated[tuple[str, ...], _Several] = (),
    seed: Seed = 1,
    workers: Workers = 0,
) -> int:
    """Change the speed, tempo and echo of the recordings of speech examples.

    Parameters
    ----------
    manifest
        A manifest with the speech examples; repeat the option for several.
    to
        The manifest to write (.jsonl); the recordings go to the folder of the same name.
    copies
        Copies of each example, or DATASET=COPIES, once for each dataset (default 1).
    of
        Tasks whose examples are changed (default: all with speech).
    change
        Settings that override the paper's ranges: `--change tempo_range=[0.9,1.1]`,
        `--change echo=false`.
    seed
        Seed for the random changes.
    workers
        Threads; 0: one per processor.
    """
    from taskaware.augment.signals import change_signals

    by_dataset = _copies(copies)
    settings = _signal_settings(change)
    _require_jsonl(to)
    return _until_stopped(
        lambda display: _show_step(
            change_signals(
                manifest,
                to,
                by_dataset,
                settings,
                seed=seed,
                of=of,
                num_workers=workers or None,
                progress=display,
            )
        )
    )


def _until_stopped(work: Callable[[StageDisplay], int]) -> int:
    try:
        with stage_display() as display:
            return work(display)
    except KeyboardInterrupt as error:
        say("Stopped. Finished work is kept: the same command resumes it.")
        return code_of(Ending.by_interrupt(error))


def _given(**fields: Any) -> dict[str, Any]:
    """Return the options that were given; the others have their defaults in the settings."""
    return {name: value for name, value in fields.items() if value is not None}


def _model(text: str, which: str) -> TranslationModelSettings:
    from taskaware.augment.settings import TranslationModelSettings

    name, equals, folder = text.partition("=")
    if equals and "/" not in name and not Path(text).exists():
        return TranslationModelSettings(folder=Path(folder), name=name, which=which)
    return TranslationModelSettings(folder=Path(text), which=which)


def _copies(texts: tuple[str, ...]) -> int | dict[str, int]:
    by_dataset: dict[str, int] = {}
    for text in texts:
        dataset, equals, number = text.rpartition("=")
        if not number.isdecimal() or (len(texts) > 1 and not equals):
            raise UserError(
                f"--copies must be a number, or DATASET=NUMBER once for each dataset, but is "
                f"'{' '.join(texts)}'"
            )
        if not equals:
            return int(number)
        by_dataset[dataset] = int(number)
    return by_dataset


def _signal_settings(changes: tuple[str, ...]) -> Any:
    import tomllib

    from taskaware.data.sound.settings import AugmentationSettings
    from taskaware.settings import typed as settings

    try:
        fields = tomllib.loads("\n".join(changes))
    except tomllib.TOMLDecodeError as error:
        raise UserError(
            f"--change must be NAME=VALUE, as in tempo_range=[0.9,1.1], but is "
            f"'{' '.join(changes)}' ({error})"
        ) from error
    return settings.from_mapping(AugmentationSettings, fields, where="--change")


def _require_jsonl(to: Path) -> None:
    if to.suffix != ".jsonl":
        raise UserError(f"--to must be a file NAME.jsonl, but is {to}")


def _show_step(written: Written) -> int:
    from taskaware.augment.blocks import READ, WRITTEN

    if written.was_complete:
        say(f"{written.path} is already complete.")
    elif written.went_on_from:
        say(f"Resumed from example {written.went_on_from:,}.")
    for dataset in dict.fromkeys(dataset for dataset, _ in written.counts):
        of = {what: n for (name, what), n in written.counts.items() if name == dataset and n}
        others = ", ".join(f"{n:,} {what}" for what, n in of.items() if what not in (READ, WRITTEN))
        say(
            f"{dataset}: {counted(of.get(WRITTEN, 0), 'example')} from {of.get(READ, 0):,}"
            + (f"; left out: {others}" if others else "")
        )
    if written.num_bad_lines:
        bad = counted(written.num_bad_lines, "line")
        say(f"warning: {bad} of the manifests cannot be read")
    if written.total(WRITTEN):
        say(f"Train on it: {own_command('prepare', '--train', written.path)} ...")
    else:
        say(f"warning: {written.path} holds no example")
    return 0


def _show_recipe(result: RecipeResult) -> None:
    from rich.table import Table

    from taskaware.augment.recipe import ORIGINS

    table = Table(box=None, pad_edge=False)
    table.add_column("dataset")
    table.add_column("task")
    for name in (*ORIGINS, "total", "multiple"):
        table.add_column(name, justify="right")
    for dataset, task, numbers, multiple in result.counts.rows():
        cells = (f"{number:,}" for number in (*numbers, sum(numbers)))
        table.add_row(dataset, task, *cells, multiple)
    out().print(table)
    for (dataset, step, reason), number in result.counts.left_out.items():
        if number:
            say(f"{dataset}, {step}: left out: {number:,} {reason}")
    say(f"Train on it: {own_command('prepare', '--train', result.train)} --dev ... --to ...")
