"""Multi30k as manifests: image captions, English to German, French and Czech.

::

    python experiments/manifests/multi30k.py --from multi30k --to runs/multi30k/manifests

``--from`` is a folder with ``SPLIT.LANGUAGE.gz`` (or ``SPLIT.LANGUAGE``) for the splits train, val
and test_2016_flickr and the languages en, de, fr and cs: raw text, one caption a line, translations
line by line. Written: ``train.tsv``, ``dev.tsv`` (val) and ``test.tsv`` (test_2016_flickr), with
three tasks, ``mt_en_de``, ``mt_en_fr`` and ``mt_en_cs``.

Texts are kept as they are, but for white space at the ends, which is removed, and a tab inside,
which becomes a space. The three translations of a caption share their ``utterance``, so that the
confusion rate can be computed. Needs nothing but Python. Multi30k is for research, not commerce.
"""

from __future__ import annotations

import argparse
import gzip
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

SPLITS = {"train": "train", "dev": "val", "test": "test_2016_flickr"}
SOURCE_LANGUAGE = "en"
TARGET_LANGUAGES = ("de", "fr", "cs")
COLUMNS = (
    *("id", "task", "kind", "dataset", "utterance"),
    *("source_language", "target_language", "source_text", "target_text"),
)


def main() -> None:
    """Write the three manifests, or end with what is missing."""
    parser = argparse.ArgumentParser(description="Turn the files of Multi30k into manifests.")
    parser.add_argument(
        "--from", dest="source", type=Path, required=True, help="the folder of Multi30k's files"
    )
    parser.add_argument("--to", type=Path, required=True, help="the folder to write manifests to")
    arguments = parser.parse_args()
    arguments.to.mkdir(parents=True, exist_ok=True)
    for split, name in SPLITS.items():
        rows = list(read_split(arguments.source, split, name))
        path = arguments.to / f"{split}.tsv"
        lines = ["\t".join(COLUMNS), *("\t".join(row) for row in rows)]
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        print(f"{path}: {len(rows):,} examples")


def read_split(folder: Path, split: str, name: str) -> Iterator[tuple[str, ...]]:
    """Yield the rows of one split: every caption once for each language."""
    texts = {
        language: read_texts(folder, f"{name}.{language}")
        for language in (SOURCE_LANGUAGE, *TARGET_LANGUAGES)
    }
    numbers = {language: len(lines) for language, lines in texts.items()}
    if len(set(numbers.values())) != 1:
        sys.exit(f"{folder}: the files {name}.* must have as many lines each, but have {numbers}")
    for target in TARGET_LANGUAGES:
        pairs = zip(texts[SOURCE_LANGUAGE], texts[target], strict=True)
        for number, (source_text, target_text) in enumerate(pairs, start=1):
            utterance = f"{split}-{number:05d}"
            yield (
                *(f"{utterance}-{target}", f"mt_en_{target}", "mt", "multi30k", utterance),
                *(SOURCE_LANGUAGE, target, source_text, target_text),
            )


def read_texts(folder: Path, name: str) -> list[str]:
    """Return the lines of a file, plain or compressed."""
    packed, plain = folder / f"{name}.gz", folder / name
    if packed.is_file():
        text = gzip.decompress(packed.read_bytes()).decode("utf-8")
    elif plain.is_file():
        text = plain.read_text(encoding="utf-8")
    else:
        sys.exit(f"{packed} must be there, or {plain}, but neither is")
    # Not splitlines: a caption may hold one of the rarer line separators of Unicode.
    return [line.strip().replace("\t", " ") for line in text.removesuffix("\n").split("\n")]


if __name__ == "__main__":
    main()
