"""How fast prepared data is read: batches alone, without a model that waits for them.

    python benchmarks/loader.py --data runs/demo/data runs/real_speech/data

For each folder of prepared data: what it stores of recordings, the time of an update's batches,
examples and hours of speech a second. Recordings that are stored as audio are read once as they are
and once with all of them changed (speed, tempo, echo) and masked; their features are computed then.
In one process; none reads ahead. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch

from taskaware.data.batches.batching import text_cue
from taskaware.data.batches.reader import TrainingReader
from taskaware.data.batches.settings import BatchingSettings
from taskaware.data.batches.stream import TrainingBatches
from taskaware.data.prepared.folder import PreparedData
from taskaware.data.sound.settings import AugmentationSettings
from taskaware.evaluation.machine import processor_name


@dataclass(frozen=True)
class Found:
    """What one way of reading one folder took.

    Attributes:
        folder: The data.
        stored: What it has of recordings.
        augmented: Whether recordings are changed.
        milliseconds: The median of an update's batches.
        examples: A second.
        hours: Of recordings, a second.
    """

    folder: str
    stored: str
    augmented: bool
    milliseconds: float
    examples: float
    hours: float


def main() -> None:
    """Print the machine, a table, and one line of JSON."""
    parser = argparse.ArgumentParser(description="How fast prepared data is read.")
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="prepared folders")
    parser.add_argument(
        "--updates", type=int, default=30, help="that are timed, after 5 that are not"
    )
    parser.add_argument("--max-frames", type=int, default=24_000, help="`batching.max_frames`")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[Found] = []
    print(f"machine: {processor_name()}\n")
    print("| data | stored | augmented | ms an update | examples/s | hours of speech/s |")
    print("|---|---|---|---:|---:|---:|")
    for folder in options.data:
        data = PreparedData.open(folder)
        for augmented in (False, True) if data.stores_audio else (False,):
            row = measure(data, options, augmented=augmented)
            rows.append(row)
            print(
                f"| {row.folder} | {row.stored} | {'yes' if augmented else 'no'} | "
                f"{row.milliseconds:.1f} | {row.examples:.0f} | {row.hours:.2f} |",
                flush=True,
            )
    print("\n" + json.dumps([vars(row) for row in rows]))


def measure(data: PreparedData, options: argparse.Namespace, *, augmented: bool) -> Found:
    """Read updates of all tasks of a folder."""
    split = data.split("train")
    augmentation = (
        AugmentationSettings(
            share=1.0,
            num_time_masks=2,
            max_time_mask_frames=40,
            num_frequency_masks=2,
            max_frequency_mask_bins=27,
        )
        if augmented
        else AugmentationSettings()
    )
    reader = TrainingReader(split, augmentation, seed=1)
    batches = TrainingBatches(
        split,
        reader,
        data.tasks,
        BatchingSettings(strategy="dynamic", max_frames=options.max_frames, cue_examples=0),
        cues={task.name: text_cue(data.vocabulary, task, "explicit") for task in data.tasks},
        seed=1,
        changed_lengths=reader.changed_lengths if augmentation.changes_signal else None,
    )
    took: list[float] = []
    examples = frames = 0
    for number in range(5 + options.updates):
        began = time.perf_counter()
        update = next(batches)
        if number >= 5:
            took.append(time.perf_counter() - began)
            examples += sum(batch.num_examples for batch in update)
            frames += sum(
                int(batch.source_lengths.sum())
                for batch in update
                if not batch.task.modality.is_text
            )
    stored = "audio" if data.stores_audio else "features"
    if data.encoder is not None:
        stored = "encoder outputs"
    elif not data.num_feature_columns:
        stored = "texts alone"
    hours = frames * data.hop_ms / 3_600_000
    return Found(
        folder=str(data.folder),
        stored=stored,
        augmented=augmented,
        milliseconds=1e3 * median(took),
        examples=examples / sum(took),
        hours=hours / sum(took),
    )


if __name__ == "__main__":
    main()
