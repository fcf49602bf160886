"""Multi30k (Elliott et al., 2016): image captions from English, https://github.com/multi30k/dataset.

::

    train.en, train.de, train.fr, train.cs
    val.en, ...
    test_2016_flickr.en, ...     test_2017_flickr, test_2017_mscoco, test_2018_flickr too

All of them may be compressed by gzip, as the repository has them in ``data/task1/raw``: name that
folder or the repository. ``val`` is dev, ``test_2016_flickr`` is test, and the other tests are
splits of their own names, for the languages that they have.
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING

from taskaware.data.corpora.files import require_folder, visible
from taskaware.data.corpora.languages import wanted_languages
from taskaware.data.corpora.parallel_text import PLAIN, SOURCE_LANGUAGE, ParallelText, read_rows
from taskaware.data.corpora.rows import MT, Found, Request
from taskaware.data.corpora.text_formats import read_plain
from taskaware.errors import CorpusError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_RAW = "data/task1/raw"
_FILE = re.compile(r"(train|val|test_\w+)\.([a-z]{2})(?:\.gz)?")
_SPLITS = {"val": "dev", "test_2016_flickr": "test"}


def read(request: Request) -> Iterator[Found]:
    """Yield the corpus's rows; ``request.languages`` are target languages.

    Raises:
        CorpusError: The folder lacks the training files, or a language.
    """
    folder = require_folder(request.folder, "Multi30k's raw texts")
    folder = folder / _RAW if (folder / _RAW).is_dir() else folder
    sets = _sets(folder)
    if SOURCE_LANGUAGE not in sets.get("train", {}):
        raise CorpusError(
            f"{folder} must contain train.en or train.en.gz, but does not: give the folder of "
            f"Multi30k's raw texts ({_RAW} in its repository)"
        )
    languages = wanted_languages(request, set(sets["train"]) - {SOURCE_LANGUAGE})
    if MT not in request.kinds:
        return
    for name, files in sets.items():
        source = files.get(SOURCE_LANGUAGE)
        for language in sorted(languages & set(files)):
            if source is None:
                raise CorpusError(
                    f"{folder} must contain {name}.en beside {files[language].name}, but does not: "
                    "copy it there too"
                )
            text = ParallelText(
                name=name,
                language=language,
                form=PLAIN,
                path=source,
                pairs=partial(read_plain, source, files[language]),
            )
            yield from read_rows(text, _SPLITS.get(name, name), "multi30k")


def _sets(folder: Path) -> dict[str, dict[str, Path]]:
    """Return the files of every set by language."""
    sets: dict[str, dict[str, Path]] = {}
    for path in visible(folder.iterdir()):
        match = _FILE.fullmatch(path.name)
        if match is not None:
            sets.setdefault(match[1], {}).setdefault(match[2], path)
    return sets
