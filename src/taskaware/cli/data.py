"""``taskaware data``: statistics of manifests, and checks of prepared folders."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from taskaware.cli.display import out, say, stage_display
from taskaware.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from taskaware.data.prepared.folder import PreparedData
    from taskaware.data.quality.statistics_tables import StatisticsTable

_STATISTICS = ("stats.json", "stats.md")
_WIDEST = 10_000  # columns: wider than any table
_SHORT = 6  # characters of a head that stays whole

app = App(name="data", help="Count and check data before training on it.")


@app.command
def stats(
    folder: Path | None = None,
    /,
    *,
    train: Annotated[tuple[Path, ...], Parameter(negative=(), show_default=False)] = (),
    dev: Annotated[tuple[Path, ...], Parameter(negative=(), show_default=False)] = (),
    test: Annotated[tuple[Path, ...], Parameter(negative=(), show_default=False)] = (),
    vocabulary: Path | None = None,
    audio: bool = True,
    to: Path | None = None,
) -> int:
    """Count hours, examples, words, lengths, speakers, duplicates and overlap.

    Of a folder that was prepared from manifests of your own it counts the examples that are used.
    Manifests of any size are read in little memory. Recordings are opened only where the manifest
    does not say how long the speech is.

    Parameters
    ----------
    folder
        A folder with a manifest SPLIT.jsonl for each split, or with a folder `manifests` of them,
        or a prepared folder; instead of the options train, dev and test.
    train
        A manifest of the training data; repeat the option for several.
    dev
        A manifest of the validation data.
    test
        A manifest of the test data.
    vocabulary
        A vocabulary.model: count the characters that it does not have.
    audio
        Open recordings whose length is not in the manifest; with --no-audio their hours are not
        counted.
    to
        The folder to write stats.json and stats.md to.
    """
    import json

    from taskaware.data.quality.statistics import measure, measure_prepared
    from taskaware.data.quality.statistics_tables import (
        problem_lines,
        to_json,
        to_markdown,
        to_tables,
    )
    from taskaware.data.vocabulary.vocabulary import Vocabulary
    from taskaware.output_folder import claimed, require_usable

    given = {"train": train, "dev": dev, "test": test}
    data = _prepared(folder) if not any(given.values()) else None
    manifests = {}
    if data is None:
        manifests = _manifests(folder, {name: paths for name, paths in given.items() if paths})
    if to is not None:
        require_usable(to, names=_STATISTICS, whole=False)
    pieces = None if vocabulary is None else Vocabulary.load(vocabulary)
    with stage_display() as progress:
        if data is not None:
            found = measure_prepared(data, vocabulary=pieces, progress=progress)
        else:
            found = measure(manifests, vocabulary=pieces, open_recordings=audio, progress=progress)
    console = out()
    for table in to_tables(found):
        console.print(_shown(table, console))
        console.print(f"{table.note}\n" if table.note else "")
    for line in problem_lines(found):
        say(f"warning: {line}")
    if to is not None:
        record = json.dumps(to_json(found), indent=2, ensure_ascii=False)
        with claimed(to, names=_STATISTICS, whole=False) as output:
            output.write("stats.json", f"{record}\n".encode())
            output.write("stats.md", to_markdown(found).encode())
        say(f"written: {to}/stats.json, {to}/stats.md")
    return 0


@app.command
def verify(folder: str, /) -> int:
    """Compare every shard of a prepared folder with its checksum, and read every example.

    Training checks each shard before it reads it; this command checks all of them at once, and
    finds as well what has the right checksum and cannot be trained on.

    Parameters
    ----------
    folder
        The prepared folder: a path, or a URL that fsspec reads.
    """
    from taskaware.data.prepared.folder import PreparedData
    from taskaware.errors import DataError

    data = PreparedData.open(folder)
    splits = [data.split(name) for name in data.split_names]
    total = sum(len(split.records) for split in splits)
    damaged: list[str] = []
    done = 0
    with stage_display() as progress:
        for split in splits:
            for number in range(len(split.records)):
                try:
                    split.verify(number)
                except DataError as error:
                    damaged.append(str(error))
                done += 1
                progress("shards", done, total)
    if damaged:
        raise DataError("\n".join(damaged))
    num_bytes = sum(record.num_bytes for split in splits for record in split.records)
    whole = "the only shard is" if total == 1 else f"all {total:,} shards are"
    say(f"{whole} intact ({num_bytes / 1e9:,.2f} GB)")
    return 0


def _prepared(folder: Path | None) -> PreparedData | None:
    """Return a folder that holds no manifests of its splits, but is prepared."""
    from taskaware.data.prepared.folder import MARKER_NAME, PreparedData

    if folder is None or not (folder / MARKER_NAME).is_file():
        return None
    data = PreparedData.open(folder)
    manifests = (folder / f"{name}.jsonl" for name in data.split_names)
    has_manifests = (folder / "manifests").is_dir() or any(path.is_file() for path in manifests)
    return None if has_manifests else data


def _manifests(
    folder: Path | None, given: dict[str, tuple[Path, ...]]
) -> dict[str, tuple[Path, ...]]:
    """Return the manifests of each split.

    Raises:
        UserError: Neither or both of a folder and manifests are given, or the folder has none.
    """
    if (folder is None) == (not given):
        raise UserError(
            "either a folder of manifests must be given, or manifests with --train, --dev and "
            f"--test, but {'neither is' if folder is None else 'both are'} given"
        )
    if folder is None:
        return given
    inner = folder / "manifests"
    where = inner if inner.is_dir() else folder
    found = {path.stem: (path,) for path in sorted(where.glob("*.jsonl"))}
    if not found:
        raise UserError(
            f"{where} must be a folder with a manifest SPLIT.jsonl for each split, or a prepared "
            "folder, but is neither: name the folder that the corpus's manifests were written to, "
            "or manifests by --train, --dev and --test"
        )
    return found


def _shown(table: StatisticsTable, console: Console) -> Table:
    """Return a table that fits the console where it can: numbers and histograms stay whole."""
    from rich.cells import cell_len
    from rich.table import Table
    from rich.text import Text

    shown = Table(
        title=table.title,
        box=None,
        pad_edge=False,
        title_justify="left",
    )
    for number, name in enumerate(table.header):
        shown.add_column(
            name, justify="left" if number < table.num_names else "right", overflow="fold"
        )
    for row in table.rows:
        shown.add_row(*(Text(cell) for cell in row))  # no markup: cells are users' names
    anywhere = console.options.update_width(_WIDEST)
    if console.measure(shown, options=anywhere).maximum > console.width:
        shown.padding = (0, 1, 0, 0)  # one space between columns
        for number, name in enumerate(table.header):
            if number >= table.num_names:  # else names are broken, and heads between their words
                words = (name,) if len(name) < _SHORT else name.split()
                parts = (*words, *(row[number] for row in table.rows))
                shown.columns[number].width = max(map(cell_len, parts), default=1)
    return shown
