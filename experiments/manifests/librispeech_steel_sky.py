"""LibriSpeech and Beneath a Steel Sky, real English speech, as manifests for one model.

::

    python experiments/manifests/librispeech_steel_sky.py \\
        --from corpora --to runs/librispeech_steel_sky/manifests

``--from`` is a folder that holds two folders, each with a ``manifest.tsv`` whose columns are split,
id, audio, duration_seconds, speaker (LibriSpeech alone) and a text for each language:

- ``librispeech_mini``: read English with transcripts (train-clean-5, and dev-clean cut by speaker);
- ``steel_sky``: the acted English dialogue of a game, with its text and its translations.

Written: ``train.tsv``, ``dev.tsv`` and ``test.tsv`` with three tasks:

- ``asr_en``: LibriSpeech (dataset ``librispeech``) and Steel Sky (dataset ``steel_sky``);
- ``st_en_de``: Steel Sky, English speech to German text;
- ``mt_en_de``: Steel Sky, English text to German text.

LibriSpeech's transcripts are in capitals without punctuation. They are lower-cased, so that the two
recognition corpora agree about most words; Steel Sky's keep their case and punctuation. (Word error
rate ignores both.) The examples of the three tasks on one line of dialogue share their
``utterance``, so that the confusion rate can be computed. The manifests name the recordings by
absolute paths. Needs nothing but Python.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

SPLITS = ("train", "dev", "test")
COLUMNS = (
    *("id", "task", "kind", "dataset", "speaker", "utterance", "audio"),
    *("source_language", "target_language", "source_text", "target_text"),
)
Row = dict[str, str]


def main() -> None:
    """Write the three manifests, or end with what is missing."""
    parser = argparse.ArgumentParser(
        description="Turn the mini LibriSpeech and Beneath a Steel Sky into manifests."
    )
    parser.add_argument(
        "--from",
        dest="source",
        type=Path,
        required=True,
        help="the folder that holds librispeech_mini and steel_sky",
    )
    parser.add_argument("--to", type=Path, required=True, help="the folder to write manifests to")
    arguments = parser.parse_args()
    rows = [
        *read_librispeech(arguments.source / "librispeech_mini"),
        *read_steel_sky(arguments.source / "steel_sky"),
    ]
    arguments.to.mkdir(parents=True, exist_ok=True)
    for split in SPLITS:
        chosen = [row for row in rows if row["split"] == split]
        cells = [[row.get(column, "") for column in COLUMNS] for row in chosen]
        path = arguments.to / f"{split}.tsv"
        lines = ["\t".join(line) for line in [list(COLUMNS), *cells]]
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        print(f"{path}: {len(chosen):,} examples")


def read_librispeech(folder: Path) -> Iterator[Row]:
    """Yield one recognition example for each recording."""
    for found in read_table(folder / "manifest.tsv", ("split", "id", "audio", "speaker", "en")):
        yield {
            "split": found["split"],
            "id": f"librispeech-{found['id']}",
            "task": "asr_en",
            "kind": "asr",
            "dataset": "librispeech",
            "speaker": found["speaker"],
            "utterance": f"librispeech-{found['id']}",
            "audio": str((folder / found["audio"]).resolve()),
            "source_language": "en",
            "target_language": "en",
            "target_text": found["en"].lower(),
        }


def read_steel_sky(folder: Path) -> Iterator[Row]:
    """Yield three examples for each line of dialogue: recognise it, translate it twice."""
    for found in read_table(folder / "manifest.tsv", ("split", "id", "audio", "en", "de")):
        audio = str((folder / found["audio"]).resolve())
        shared = {
            "split": found["split"],
            "dataset": "steel_sky",
            "utterance": f"steel_sky-{found['id']}",
            "source_language": "en",
        }
        asr = {"task": "asr_en", "kind": "asr", "audio": audio, "target_language": "en"}
        st = {"task": "st_en_de", "kind": "st", "audio": audio, "target_language": "de"}
        mt = {"task": "mt_en_de", "kind": "mt", "source_text": found["en"], "target_language": "de"}
        for own in (asr, st, mt):
            id_ = f"steel_sky-{found['id']}-{own['kind']}"
            yield {**shared, **own, "id": id_, "target_text": found[own["target_language"]]}


def read_table(path: Path, needed: tuple[str, ...]) -> Iterator[Row]:
    """Yield the lines of a tab-separated file as column to cell."""
    if not path.is_file():
        sys.exit(f"{path} must be there, but is not")
    header, *lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    columns = header.split("\t")
    missing = [column for column in needed if column not in columns]
    if missing:
        sys.exit(
            f"{path}, line 1 must name the column '{missing[0]}', but has {', '.join(columns)}"
        )
    for number, line in enumerate(lines, start=2):
        cells = line.split("\t")
        if len(cells) != len(columns):
            sys.exit(f"{path}, line {number} must have {len(columns)} cells, but has {len(cells)}")
        yield dict(zip(columns, cells, strict=True))


if __name__ == "__main__":
    main()
