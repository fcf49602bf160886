"""Writing what a study found into a folder, so that a reader never sees half a file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from taskaware.errors import MissingDependencyError, OutputError
from taskaware.files import read_json_object
from taskaware.output_folder import claimed, require_usable
from taskaware.study.figures import (
    curves_figure,
    embedding_figure,
    forgetting_figure,
    rendered,
    scores_figures,
)
from taskaware.study.page import render_page
from taskaware.study.tables import to_csv, to_json, to_markdown

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from taskaware.study.figures import StudyFigure
    from taskaware.study.results import LearningCurve, StudyResults

WRITTEN = ("results.json", "table.csv", "table.md", "report.html", "figures")


@dataclass(frozen=True, kw_only=True)
class Written:
    """What ``write_all`` wrote.

    Attributes:
        paths: The files, in the order in which they were written.
        warning: What is missing and how to get it; empty where all was written.
    """

    paths: tuple[Path, ...]
    warning: str = ""


def require_folder(folder: Path, *, study: str, size: str) -> None:
    """Require, before any training, that a study's table can be written into a folder.

    A folder's name joins those of study and size, so that other studies may have the same.

    Raises:
        OutputError: Files of these names are there that no study wrote, or the table of another.
    """
    require_usable(folder, names=WRITTEN, whole=False)
    try:
        found = read_json_object(folder / "results.json")
    except (OSError, ValueError):
        return  # none, or a damaged one of ours
    there = found.get("name"), found.get("size")
    if there != (study, size):
        raise OutputError(
            f"{folder} must be for the study '{study}' of the size '{size}', but holds the table "
            f"of '{there[0]}' of the size '{there[1]}': give one of them another name, or another "
            "folder with --to; nothing was changed"
        )


def write_all(results: StudyResults, folder: Path) -> Written:
    """Write ``table.md``, ``table.csv``, ``results.json``, ``report.html`` and ``figures/``.

    Folders on the way are made, and what an earlier call wrote is replaced. Without Matplotlib the
    page and the figures are left out, and the result's warning says so.

    Raises:
        OutputError: See ``require_folder``.
    """
    texts = (("results.json", to_json), ("table.csv", to_csv), ("table.md", to_markdown))
    # Several commands that work on one study end at about the same time: each waits its turn.
    with claimed(folder, names=WRITTEN, whole=False, waits=True) as output:
        require_folder(folder, study=results.name, size=results.size)
        paths = [output.write(name, text(results).encode()) for name, text in texts]
        try:
            paths.append(output.write("report.html", render_page(results).encode()))
            for name, figure in _figures(results):
                paths.append(output.write(f"figures/{name}.svg", rendered(figure, "svg")))
                paths.append(output.write(f"figures/{name}.png", rendered(figure, "png")))
        except MissingDependencyError as error:
            return Written(paths=tuple(paths), warning=f"figures are left out: {error}")
    return Written(paths=tuple(paths))


def _figures(results: StudyResults) -> Iterator[tuple[str, StudyFigure]]:
    """Every figure with its file's name."""
    for index, (kind, figure) in enumerate(scores_figures(results).items(), start=1):
        yield _file_name("scores", index, kind), figure
    for index, shown in enumerate(results.embeddings, start=1):
        yield _file_name("embeddings", index, shown.title), embedding_figure(shown)
    for index, matrix in enumerate(results.matrices, start=1):
        yield _file_name("forgetting", index, matrix.label), forgetting_figure(matrix)
    runs = list(dict.fromkeys(curve.run for curve in results.curves))
    by_task: dict[str, list[LearningCurve]] = {}
    for curve in results.curves:
        by_task.setdefault(curve.task, []).append(curve)
    for index, (task, curves) in enumerate(by_task.items(), start=1):
        yield _file_name("curves", index, task), curves_figure(curves, runs)


def _file_name(kind: str, index: int, title: str) -> str:
    """A name that any file system takes; the number keeps two of the same title apart."""
    words = re.sub(r"[^a-z0-9]+", "_", title.lower()).strip("_")[:40].strip("_")
    return f"{kind}_{index}_{words}" if words else f"{kind}_{index}"
