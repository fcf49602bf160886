"""A cascade as a manifest: texts that a model recognised, to be translated by one that reads texts.

::

    python experiments/manifests/cascade.py --test runs/steel_sky/manifests/test.tsv \
        --outputs runs/NAME/evaluation/model/test/outputs.jsonl --to runs/cascade/test.tsv

``--test`` is the manifest that was evaluated, with ``asr_en`` and text translations of the same
utterances; ``--outputs`` what ``taskaware evaluate`` wrote. Written: the examples of the text
translations, each with what was recognised in the place of its source text; ``taskaware prepare
--test`` and ``taskaware evaluate`` then score the cascade. An utterance of which nothing was
recognised has a full stop for its source, as no source may be empty. Needs nothing but Python.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from pathlib import Path

RECOGNITION = "asr_en"
EMPTY = "."


def main() -> None:
    """Write the manifest, or end with what does not fit."""
    parser = argparse.ArgumentParser(description="Make a manifest of what was recognised.")
    parser.add_argument("--test", type=Path, required=True, help="the manifest that was evaluated")
    parser.add_argument("--outputs", type=Path, required=True, help="outputs.jsonl of evaluate")
    parser.add_argument("--to", type=Path, required=True, help="the manifest to write")
    arguments = parser.parse_args()
    with arguments.test.open(encoding="utf-8", newline="") as file:
        found = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        columns, rows = list(found.fieldnames or ()), list(found)
    heard = recognised(arguments.outputs)
    recordings = [row for row in rows if row["task"] == RECOGNITION]
    if [row["target_text"] for row in recordings] != [reference for reference, _ in heard]:
        sys.exit(
            f"{arguments.outputs} must hold an output of {RECOGNITION} for each of "
            f"{arguments.test}, in its order, but does not: evaluate this manifest"
        )
    texts = {row["utterance"]: text for row, (_, text) in zip(recordings, heard, strict=True)}
    written = [
        {**row, "source_text": texts[row["utterance"]] or EMPTY}
        for row in rows
        if row["source_text"] and row["utterance"] in texts
    ]
    arguments.to.parent.mkdir(parents=True, exist_ok=True)
    lines = ["\t".join(columns), *("\t".join(row[name] for name in columns) for row in written)]
    arguments.to.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    print(f"{arguments.to}: {len(written):,} examples")


def recognised(path: Path) -> list[tuple[str, str]]:
    """Return reference and output of each recognised example, in order."""
    with path.open(encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    return [
        (line["reference"], " ".join(line["text"].split()))
        for line in lines
        if line["task"] == RECOGNITION
    ]


if __name__ == "__main__":
    main()
