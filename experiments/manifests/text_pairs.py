"""English to German, Turkish and Romanian text, the pairs of the paper's Table 2, as manifests.

::

    python experiments/manifests/text_pairs.py --from corpora --to runs/text_pairs/manifests

``--from`` is a folder that holds two folders:

- ``text``: ``CORPUS.en-XX.SPLIT.tsv``, two columns with the header en and XX, SPLIT train, dev or
  test;
- ``wmt``: ``NAME.en-XX.en`` and ``NAME.en-XX.XX`` (or the same with ``.gz``), translations line by
  line.

Written: ``train.tsv``, ``dev.tsv`` and ``test.tsv``. A corpus becomes a dataset of its own name:

========  ======================================  ============  ============
task      train, dev and test                     dev as well   test as well
========  ======================================  ============  ============
mt_en_de  wesnoth, manual, everyday, interface    newstest2014  newstest2015
mt_en_tr  wesnoth, manual, interface              newstest2016  newstest2017
mt_en_ro  interface                               newsdev2016   newstest2016
========  ======================================  ============  ============

newsdev2016 and newstest2016 (Romanian) and newstest2017 (Turkish) are those of Table 2;
newstest2014 and newstest2015 (German) are test sets of the paper's larger experiments.

Texts are kept as they are, but for white space at the ends of news, which is removed, and a tab
inside, which becomes a space. A train pair is left out where a dev or test set, of whatever task,
has its English or its translation; so is a dev pair where a test set has them: Turkish's
newstest2016 shares 1,000 English sentences with Romanian's. Texts are compared by letters and
digits alone, whatever the case. ``--max-pairs`` then keeps at most so many train pairs of each
corpus and task, evenly spread over the corpus.

Examples with the same English share their utterance (prepare's default), so that the confusion
rate can be computed where two tasks translate it. Needs nothing but Python.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from librispeech_steel_sky import SPLITS, Row, read_table
from multi30k import read_texts
from steel_sky import write_manifests

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE_LANGUAGE = "en"
CORPORA = {
    "de": ("wesnoth", "manual", "everyday", "interface"),
    "tr": ("wesnoth", "manual", "interface"),
    "ro": ("interface",),
}
NEWS = {
    "de": {"dev": "newstest2014", "test": "newstest2015"},
    "tr": {"dev": "newstest2016", "test": "newstest2017"},
    "ro": {"dev": "newsdev2016", "test": "newstest2016"},
}


def main() -> None:
    """Write the three manifests, or end with what is missing."""
    parser = argparse.ArgumentParser(
        description="Turn English-German, -Turkish and -Romanian texts into manifests."
    )
    parser.add_argument(
        "--from", dest="source", type=Path, required=True, help="the folder that holds text and wmt"
    )
    parser.add_argument("--to", type=Path, required=True, help="the folder to write manifests to")
    parser.add_argument(
        "--max-pairs", type=int, help="train pairs of each corpus and task (default: all)"
    )
    arguments = parser.parse_args()
    if arguments.max_pairs is not None and arguments.max_pairs < 1:
        parser.error(f"--max-pairs must be at least 1, but is {arguments.max_pairs} instead")
    rows = [row for language in CORPORA for row in read_language(arguments.source, language)]
    rows = without_overlap(rows)
    if arguments.max_pairs is not None:
        rows = thinned(rows, arguments.max_pairs)
    write_manifests(arguments.to, rows)


def read_language(folder: Path, language: str) -> Iterator[Row]:
    """Yield all pairs of English and one language, whatever their split."""
    for corpus in CORPORA[language]:
        for split in SPLITS:
            path = folder / "text" / f"{corpus}.{SOURCE_LANGUAGE}-{language}.{split}.tsv"
            table = read_table(path, (SOURCE_LANGUAGE, language))
            pairs = [(found[SOURCE_LANGUAGE], found[language]) for found in table]
            yield from rows_of(pairs, language=language, dataset=corpus, split=split)
    for split, dataset in NEWS[language].items():
        pairs = read_news(folder / "wmt", dataset, language)
        yield from rows_of(pairs, language=language, dataset=dataset, split=split)


def read_news(folder: Path, dataset: str, language: str) -> list[tuple[str, str]]:
    """Return the pairs of two files that are translations line by line."""
    name = f"{dataset}.{SOURCE_LANGUAGE}-{language}"
    english, translated = (read_texts(folder, f"{name}.{of}") for of in (SOURCE_LANGUAGE, language))
    if len(english) != len(translated):
        sys.exit(
            f"{folder}: the files {name}.* must have as many lines each, but have "
            f"{len(english)} ({SOURCE_LANGUAGE}) and {len(translated)} ({language})"
        )
    return list(zip(english, translated, strict=True))


def rows_of(
    pairs: list[tuple[str, str]], *, language: str, dataset: str, split: str
) -> Iterator[Row]:
    """Yield the examples of one dataset, split and language; an id tells the line's number."""
    for number, (english, translated) in enumerate(pairs, start=1):
        yield {
            "split": split,
            "id": f"{dataset}-{language}-{split}-{number:05d}",
            "task": f"mt_{SOURCE_LANGUAGE}_{language}",
            "kind": "mt",
            "dataset": dataset,
            "source_language": SOURCE_LANGUAGE,
            "target_language": language,
            "source_text": english,
            "target_text": translated,
        }


def without_overlap(rows: list[Row]) -> list[Row]:
    """Leave out train pairs with a text of dev or test, and dev pairs with one of test.

    Prints how many those are.
    """
    sides = (("source_language", "source_text"), ("target_language", "target_text"))

    def texts(row: Row) -> set[tuple[str, str]]:
        return {(row[language], bare(row[text])) for language, text in sides}

    of_split: dict[str, set[tuple[str, str]]] = {split: set() for split in SPLITS}
    for row in rows:
        of_split[row["split"]] |= texts(row)
    held_out = {"train": of_split["dev"] | of_split["test"], "dev": of_split["test"], "test": set()}
    kept = []
    left_out = []
    for row in rows:
        alone = held_out[row["split"]].isdisjoint(texts(row))
        (kept if alone else left_out).append(row)
    print(f"left out, a text being in a later split: {len(left_out):,} pairs")
    names = [f"{row['split']} {row['task']} {row['dataset']}" for row in left_out]
    for name in dict.fromkeys(names):
        print(f"  {name}: {names.count(name):,}")
    return kept


def bare(text: str) -> str:
    """Return the letters and digits of a text in lower case; a text without any as it is."""
    return "".join(letter for letter in text.casefold() if letter.isalnum()) or text


def thinned(rows: list[Row], max_pairs: int) -> list[Row]:
    """Keep at most so many train pairs of each task and dataset, evenly spread."""
    of_dataset: dict[tuple[str, str], list[Row]] = {}
    others = []
    for row in rows:
        if row["split"] == "train":
            of_dataset.setdefault((row["task"], row["dataset"]), []).append(row)
        else:
            others.append(row)
    kept = []
    for pairs in of_dataset.values():
        num = min(max_pairs, len(pairs))
        kept += [pairs[i * len(pairs) // num] for i in range(num)]
    return [*kept, *others]


if __name__ == "__main__":
    main()
