"""Short English dialogue with its German or French translation, to be spoken by a synthesiser.

::

    python experiments/manifests/spoken_texts.py --from corpora --to runs/spoken
    taskaware augment speak --manifest runs/spoken/train.tsv --to runs/spoken/train.jsonl

``--from`` is a folder that holds a folder ``text`` with ``wesnoth.en-de.train.tsv``,
``everyday.en-de.train.tsv`` and ``wesnoth.en-fr.train.tsv``, two columns each. Taken are pairs with
3 to ``--max-words`` English words, at most ``--max-pairs`` of each corpus, evenly spread over it.
Needs nothing but Python.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from librispeech_steel_sky import read_table
from steel_sky import write_manifests
from text_pairs import SOURCE_LANGUAGE, rows_of, thinned

CORPORA = (("wesnoth", "de"), ("everyday", "de"), ("wesnoth", "fr"))
MIN_WORDS = 3


def main() -> None:
    """Write the manifest, or end with what is missing."""
    parser = argparse.ArgumentParser(description="Turn short dialogue texts into a manifest.")
    parser.add_argument(
        "--from", dest="source", type=Path, required=True, help="the folder that holds text"
    )
    parser.add_argument("--to", type=Path, required=True, help="the folder to write train.tsv to")
    parser.add_argument("--max-words", type=int, default=12, help="English words of a pair")
    parser.add_argument("--max-pairs", type=int, default=3500, help="pairs of each corpus")
    arguments = parser.parse_args()
    rows = []
    for corpus, language in CORPORA:
        path = arguments.source / "text" / f"{corpus}.{SOURCE_LANGUAGE}-{language}.train.tsv"
        table = read_table(path, (SOURCE_LANGUAGE, language))
        pairs = [
            (row[SOURCE_LANGUAGE], row[language])
            for row in table
            if MIN_WORDS <= len(row[SOURCE_LANGUAGE].split()) <= arguments.max_words
        ]
        rows += rows_of(pairs, language=language, dataset=corpus, split="train")
    write_manifests(arguments.to, thinned(rows, arguments.max_pairs))


if __name__ == "__main__":
    main()
