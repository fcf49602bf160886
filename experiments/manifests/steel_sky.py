"""Beneath a Steel Sky as manifests: one English speech, 13 tasks.

::

    python experiments/manifests/steel_sky.py --from corpora --to runs/steel_sky/manifests

``--from`` is a folder that holds the folder ``steel_sky``, with a ``manifest.tsv`` whose columns
are split, id, audio, and a text for each of en, de, fr, it, es, pt and sv. Written: ``train.tsv``,
``dev.tsv`` and ``test.tsv`` with 13 tasks (dataset ``steel_sky``):

- ``asr_en``: English speech to English text;
- ``st_en_de``, ``st_en_fr``, ``st_en_it``, ``st_en_es``, ``st_en_pt``, ``st_en_sv``: English speech
  to the text of the language;
- ``mt_en_de`` and so on: English text to the text of the language.

The examples of all tasks on one line of dialogue share their ``utterance``, so that the confusion
rate can be computed. Texts are kept as they are; the casing keeps some noise, and a human
translation of a game is free in places. The manifests name the recordings by absolute paths. Needs
nothing but Python.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from librispeech_steel_sky import COLUMNS, SPLITS, Row, read_table

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE_LANGUAGE = "en"
TARGET_LANGUAGES = ("de", "fr", "it", "es", "pt", "sv")


def main() -> None:
    """Write the three manifests, or end with what is missing."""
    parser = argparse.ArgumentParser(
        description="Turn Beneath a Steel Sky into manifests of 13 tasks."
    )
    parser.add_argument(
        "--from", dest="source", type=Path, required=True, help="the folder that holds steel_sky"
    )
    parser.add_argument("--to", type=Path, required=True, help="the folder to write manifests to")
    arguments = parser.parse_args()
    write_manifests(arguments.to, list(read_dialogue(arguments.source / "steel_sky")))


def read_dialogue(folder: Path) -> Iterator[Row]:
    """Yield 13 examples for each line of dialogue."""
    needed = ("split", "id", "audio", SOURCE_LANGUAGE, *TARGET_LANGUAGES)
    for found in read_table(folder / "manifest.tsv", needed):
        audio = str((folder / found["audio"]).resolve())
        english = found[SOURCE_LANGUAGE]
        own = [("asr", SOURCE_LANGUAGE, {"audio": audio})]
        own += [("st", language, {"audio": audio}) for language in TARGET_LANGUAGES]
        own += [("mt", language, {"source_text": english}) for language in TARGET_LANGUAGES]
        for kind, language, source in own:
            task = "asr_en" if kind == "asr" else f"{kind}_{SOURCE_LANGUAGE}_{language}"
            yield {
                "split": found["split"],
                "id": f"steel_sky-{found['id']}-{task}",
                "task": task,
                "kind": kind,
                "dataset": "steel_sky",
                "utterance": f"steel_sky-{found['id']}",
                "source_language": SOURCE_LANGUAGE,
                "target_language": language,
                "target_text": found[language],
                **source,
            }


def write_manifests(folder: Path, rows: list[Row]) -> None:
    """Write ``train.tsv``, ``dev.tsv`` and ``test.tsv``, and print what each task has of them."""
    folder.mkdir(parents=True, exist_ok=True)
    for split in SPLITS:
        chosen = [row for row in rows if row["split"] == split]
        cells = [[row.get(column, "") for column in COLUMNS] for row in chosen]
        path = folder / f"{split}.tsv"
        lines = ["\t".join(line) for line in [list(COLUMNS), *cells]]
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        print(f"{path}: {len(chosen):,} examples")
        of_task = [f"{row['task']} {row['dataset']}" for row in chosen]
        for name in dict.fromkeys(of_task):
            print(f"  {name}: {of_task.count(name):,}")


if __name__ == "__main__":
    main()
