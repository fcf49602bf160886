"""A task that the demo's model does not have, from the demo's corpus: English text, written again.

::

    python experiments/manifests/fourth_task.py --from runs/demo/corpus --to runs/add_task/manifests

``--from`` is a folder with ``train.tsv``, ``dev.tsv`` and ``test.tsv`` as the demo writes them.
Written: manifests of the same names with the task ``copy_en``, for each example of ``mt_en_de`` one
whose target is its own source. The demo's model has read English text, and has written English for
speech; it has never written the English that it read. Needs nothing but Python.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

SPLITS = ("train", "dev", "test")
COLUMNS = (
    *("task", "kind", "source_text", "target_text", "source_language", "target_language"),
    "utterance",
)


def main() -> None:
    """Write the three manifests."""
    parser = argparse.ArgumentParser(description="Make a fourth task for the demo's model.")
    parser.add_argument("--from", dest="source", type=Path, required=True, help="the demo's corpus")
    parser.add_argument("--to", type=Path, required=True, help="the folder to write manifests to")
    arguments = parser.parse_args()
    arguments.to.mkdir(parents=True, exist_ok=True)
    for split in SPLITS:
        rows = copies(arguments.source / f"{split}.tsv")
        lines = ["\t".join(row) for row in [COLUMNS, *rows]]
        path = arguments.to / f"{split}.tsv"
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        print(f"{path}: {len(rows):,} examples")


def copies(path: Path) -> list[tuple[str, ...]]:
    """Return an example of the new task for each of text translation in a manifest."""
    with path.open(encoding="utf-8", newline="") as file:
        found = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        rows = [row for row in found if row["task"] == "mt_en_de"]
    texts = [(row["source_text"], row["utterance"]) for row in rows]
    return [("copy_en", "copy", text, text, "en", "en", utterance) for text, utterance in texts]


if __name__ == "__main__":
    main()
