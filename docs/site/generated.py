"""What the documentation site shows of the code, as Markdown: it cannot be out of date."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from taskaware.cli.main import app
from taskaware.run.experiment import Experiment
from taskaware.settings.template import tables

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from taskaware.settings.template import DescribedTable

# In a page: `<!-- options of: augment -->`. On the repository's own pages nothing is seen of it.
_MARK = re.compile(r"^<!-- options of: (\w+) -->$", flags=re.MULTILINE)

_DOCS = Path(__file__).resolve().parents[1]
# The parts of the site, with their pages in the order in which they are read.
_PARTS = {
    "Use": (
        *(
            "install",
            "tutorial",
            "tutorial_pretrained",
            "commands",
            "data",
            "experiment",
            "site/fields",
        ),
        *("scale", "predict", "long_recordings", "pretrained", "export", "serve", "modulate"),
        "studies",
    ),
    "Reference": ("site/api", "method", "results/README", "../CHANGELOG"),
    "Inside": (
        *("design", "log", "../CONTRIBUTING", "../benchmarks/README"),
        "../experiments/manifests/README",
    ),
}
_CONTENTS_OF_RESULTS = """
```{toctree}
:hidden:
:glob:

*
```
"""


def contents() -> str:
    """Return the contents of the site, for its first page; a page that no part names comes last."""
    named = {page for pages in _PARTS.values() for page in pages}
    others = sorted(path.stem for path in _DOCS.glob("*.md") if path.stem not in named)
    parts = {**_PARTS, "More": tuple(others)}
    return "\n".join(
        "\n".join(
            (
                "```{toctree}\n:hidden:",
                f":caption: {part}\n",
                *(f"docs/{page}".replace("docs/../", "") for page in pages),
                "```\n",
            )
        )
        for part, pages in parts.items()
        if pages
    )


def with_options(page: str) -> str:
    """Return a page with the options of each command that it marks."""
    return _MARK.sub(lambda found: options_of(found[1]), page)


def options_of(command: str) -> str:
    """Return what a command takes, as its own help has it."""
    text = app[command].generate_docs(heading_level=2, usage_name=f"taskaware {command}")
    text = text.partition("\n")[2]  # the page has a heading of its own
    # Its own contents; the site has some.
    return re.sub(r"^#+ Table of Contents\n\n(?:.+\n)+", "", text, flags=re.MULTILINE)


def fields() -> str:
    """Return every field of an experiment file: its type, its default, its meaning."""
    return "\n".join(line for table in tables(Experiment) for line in _table(table))


def _table(table: DescribedTable) -> Iterator[str]:
    brackets = f"[[{table.name}]]" if table.is_repeated else f"[{table.name}]"
    yield f"## {f'`{brackets}`' if table.name else 'At the top'}\n"
    yield f"{_markdown(table.meaning)}\n"
    if not table.fields:
        return
    yield "| field | default | meaning |\n|---|---|---|"
    for each in table.fields:
        default = "must be given" if each.default is None else f"`{each.default}`"
        meaning = f"{each.meaning} ({each.kind})"
        yield f"| `{each.name}` | {_cell(default)} | {_cell(_markdown(meaning))} |"
    yield ""


def _markdown(text: str) -> str:
    """Return the words of a docstring as Markdown."""
    return text.replace("``", "`").replace("<", "\\<").replace("*", "\\*")


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


ADDED: dict[str, Callable[[], str]] = {
    "README": contents,
    "docs/results/README": lambda: _CONTENTS_OF_RESULTS,
    "docs/site/fields": fields,
}
