"""Ten million manifest lines: prepared, then read by several processes; time and memory.

::

    python benchmarks/many_lines.py --lines 10000000 --workers 2 --folder runs/many_lines

Makes a manifest of text pairs of two tasks (made-up words, about a sentence a line), prepares it as
``taskaware prepare`` does, and reads batches of it in a fresh process with worker processes. Prints
the time of each stage, the time until the first batch (from opening the folder), the rate, and the
memory of the reading process and its workers together: proportional set size, in which pages that
processes share count once, minus that of the same process before it opened the folder.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import os
import random
import subprocess
import sys
import time
from pathlib import Path

from taskaware.evaluation.machine import processor_name
from taskaware.held_memory import peak_mib

WORDS_PER_LINE = (4, 24)
NUM_WORDS = 30_000


def main() -> None:
    """Run the stages, each in a process of its own, so that memory is told apart."""
    parser = argparse.ArgumentParser(description="Prepare and read a manifest of many lines.")
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--updates", type=int, default=2000)
    parser.add_argument("--vocabulary-size", type=int, default=32_000)
    parser.add_argument("--folder", type=Path, default=Path("runs/many_lines"))
    parser.add_argument("--stage", choices=("manifest", "prepare", "read"))
    arguments = parser.parse_args()
    if arguments.stage is not None:
        stage(arguments)
        return
    print(f"{arguments.lines:,} lines, {arguments.workers} workers, {processor_name()}", flush=True)
    for name in ("manifest", "prepare", "read"):
        subprocess.run([sys.executable, *sys.argv, "--stage", name], check=True)


def stage(arguments: argparse.Namespace) -> None:
    """Do one stage."""
    folder = arguments.folder / str(arguments.lines)
    folder.mkdir(parents=True, exist_ok=True)
    manifest = folder / "train.jsonl"
    match arguments.stage:
        case "manifest":
            write_manifest(manifest, arguments.lines)
        case "prepare":
            prepare_it(manifest, folder / "data", arguments.vocabulary_size)
        case "read":
            read_it(folder / "data", arguments.workers, arguments.updates)


def write_manifest(path: Path, num_lines: int) -> None:
    """Write the manifest, unless it is there."""
    if path.exists():
        return
    rng = random.Random(0)
    letters = "etaoinshrdlucmfwypvbgk"
    words = ["".join(rng.choices(letters, k=rng.randint(2, 9))) for _ in range(NUM_WORDS)]
    # Few words make up most of a text, as in a language (Zipf).
    weights = list(itertools.accumulate(1 / (rank + 10) for rank in range(NUM_WORDS)))
    partial = path.with_suffix(".partial")
    with partial.open("w", encoding="utf-8") as file:
        for number in range(num_lines):
            source = rng.choices(words, cum_weights=weights, k=rng.randint(*WORDS_PER_LINE))
            target = source[::-1] if number % 2 else source[1:] + source[:1]
            line = {
                "id": str(number),
                "task": ("mt_en_de", "mt_en_fr")[number % 2],
                "source_text": " ".join(source),
                "target_text": " ".join(target),
            }
            file.write(json.dumps(line) + "\n")
    partial.replace(path)


def prepare_it(manifest: Path, folder: Path, vocabulary_size: int) -> None:
    """Prepare, and print how long each stage took and the greatest memory."""
    from taskaware.data.prepare import prepare
    from taskaware.data.prepare.settings import PrepareSettings

    stages: dict[str, tuple[float, float]] = {}

    def note(name: str, done: int, total: int) -> None:
        now = time.perf_counter()
        stages[name] = (stages.get(name, (now, now))[0], now)

    began = time.perf_counter()
    report = prepare(
        {"train": [manifest]},
        folder,
        PrepareSettings(vocabulary_size=vocabulary_size),
        progress=note,
    )
    if report.reused:
        print("prepare: complete already")
        return
    for name, (first, last) in stages.items():
        print(f"prepare, {name}: {last - first:.0f} s")
    peak = peak_mib()
    print(
        f"prepare: {time.perf_counter() - began:.0f} s in all, "
        f"{report.splits['train'].num_lines:,} lines, "
        f"{len(report.splits['train'].shards)} shards, greatest memory {peak:,.0f} MiB",
        flush=True,
    )


def read_it(folder: Path, workers: int, updates: int) -> None:
    """Read batches, and print time and memory."""
    from taskaware.data.batches.batching import TextCue
    from taskaware.data.batches.reader import TrainingReader
    from taskaware.data.batches.settings import BatchingSettings
    from taskaware.data.batches.stream import TrainingBatches
    from taskaware.data.prepared import PreparedData
    from taskaware.data.sound.settings import AugmentationSettings

    idle = pss_mib()
    began = time.perf_counter()
    data = PreparedData.open(folder)
    split = data.split("train")
    batches = TrainingBatches(
        split,
        TrainingReader(split, AugmentationSettings(), seed=1),
        data.tasks,
        # Every example once an epoch, and none beside for a task network to look at.
        BatchingSettings(strategy="dynamic", max_tokens=4096, num_workers=workers, cue_examples=0),
        cues={task.name: TextCue() for task in data.tasks},
        seed=1,
    )
    next(batches)
    first = time.perf_counter() - began
    num_examples = valid = padded = 0
    greatest = 0.0
    for number in range(updates):
        for batch in next(batches):
            num_examples += batch.num_examples
            valid += int(batch.source_lengths.sum() + batch.target_lengths.sum())
            padded += batch.source.numel() + batch.target_input.numel()
        if number % 100 == 0:
            greatest = max(greatest, pss_mib())
    seconds = time.perf_counter() - began - first
    print(
        f"read: {len(split):,} examples, first batch after {first:.2f} s, "
        f"{num_examples / seconds:,.0f} examples/s over {updates:,} updates, "
        f"padding {1 - valid / padded:.1%} of tokens\n"
        f"read: greatest memory of the reader and its {workers} workers {greatest:,.0f} MiB, of "
        f"which {idle:,.0f} MiB are Python and its libraries",
        flush=True,
    )
    batches.close()


def pss_mib() -> float:
    """Return the memory of this process and its children, shared pages once, in MiB."""
    total = 0
    for pid in [os.getpid(), *(child.pid for child in multiprocessing.active_children())]:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total / 1024


if __name__ == "__main__":
    main()
