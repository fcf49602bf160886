"""Synthetic recordings as examples of recognition, written as LibriSpeech writes: capitals alone.

::

    python experiments/manifests/spoken_words.py --from spoken/train.jsonl --to spoken/words.jsonl

``--from`` is what ``taskaware augment speak`` wrote for translation: its ``utterance`` is what is
said. Texts with digits or signs that are read as words are left out, and so are those that have
not 3 to 16 words; of the others ``--max-lines`` are kept, chosen by a fixed seed. Needs nothing but
Python.
"""

from __future__ import annotations

import argparse
import json
import random
import re
from pathlib import Path

_READ_AS_WORDS = re.compile(r"[0-9&%$€/@=+*]")
_NO_LETTER = re.compile(r"[^A-Z' ]")
_FEWEST_WORDS, _MOST_WORDS = 3, 16
_SEED = 1


def main() -> None:
    """Write the manifest."""
    parser = argparse.ArgumentParser(description="Turn spoken texts into examples of recognition.")
    parser.add_argument("--from", dest="source", type=Path, required=True)
    parser.add_argument("--to", type=Path, required=True, help="the manifest to write, .jsonl")
    parser.add_argument("--max-lines", type=int, default=9000)
    arguments = parser.parse_args()
    lines = arguments.source.read_text(encoding="utf-8").splitlines()
    rows = [row for line in lines if (row := recognition(json.loads(line))) is not None]
    random.Random(_SEED).shuffle(rows)
    kept = rows[: arguments.max_lines]
    text = "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in kept)
    arguments.to.write_text(text, encoding="utf-8")
    print(f"{arguments.to}: {len(kept):,} of {len(lines):,} examples")


def recognition(row: dict[str, str]) -> dict[str, str] | None:
    """Return the example of recognition that a spoken one of translation gives, if any."""
    said = row["utterance"].upper().replace("’", "'").replace("-", " ")
    if _READ_AS_WORDS.search(said):
        return None
    words = _NO_LETTER.sub(" ", said).split()
    if not _FEWEST_WORDS <= len(words) <= _MOST_WORDS:
        return None
    return {
        "id": row["id"].replace("-st-", "-asr-"),
        "task": "asr_en",
        "kind": "asr",
        "dataset": row["dataset"],
        "audio": row["audio"],
        "target_text": " ".join(words),
        "source_language": "en",
        "target_language": "en",
        "speaker": row["speaker"],
        "origin": row["origin"],
    }


if __name__ == "__main__":
    main()
