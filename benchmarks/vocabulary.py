"""How long a vocabulary of 32,000 pieces takes on a million lines, and whether it is always equal.

::

    python benchmarks/vocabulary.py --lines 1000000 --size 32000

Trains twice on lines that ``many_lines.py`` makes up, the second time in another order, as
``taskaware prepare`` does; prints both times and both SHA-256, and ends with 1 where they differ.
``--text FILE`` takes the lines of a file in place of made-up ones.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from pathlib import Path

from many_lines import write_manifest

from taskaware.data.prepare.text_sample import TextSample
from taskaware.data.vocabulary import Vocabulary
from taskaware.evaluation.machine import processor_name


def main() -> None:
    """Train twice, and compare."""
    parser = argparse.ArgumentParser(description="Time the training of a vocabulary.")
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--size", type=int, default=32_000)
    parser.add_argument("--text", type=Path, help="lines to train on in place of made-up ones")
    arguments = parser.parse_args()
    lines = read(arguments.text) if arguments.text else made_up(arguments.lines)
    print(f"{len(lines):,} lines, {arguments.size:,} pieces, {processor_name()}", flush=True)
    hashes = []
    for _ in range(2):
        began = time.perf_counter()
        sample = TextSample(len(lines))
        for line in lines:
            sample.add(line)
        vocabulary = Vocabulary.train(sample.texts(), size=arguments.size)
        seconds = time.perf_counter() - began
        print(f"{seconds:.1f} s, {vocabulary.size:,} pieces, {vocabulary.sha256}", flush=True)
        hashes.append(vocabulary.sha256)
        random.Random(1).shuffle(lines)
    sys.exit(int(hashes[0] != hashes[1]))


def read(path: Path) -> list[str]:
    """Return the lines of a text file."""
    return path.read_text(encoding="utf-8").split("\n")


def made_up(num_lines: int) -> list[str]:
    """Return the source texts of ``many_lines.py``'s manifest."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "train.jsonl"
        write_manifest(path, num_lines)
        return [json.loads(line)["source_text"] for line in path.open(encoding="utf-8")]


if __name__ == "__main__":
    main()
