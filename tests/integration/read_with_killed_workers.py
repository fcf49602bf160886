"""Reads batches while the processes that read are killed; prints what it is told of that.

A program of its own (``python read_with_killed_workers.py PREPARED_FOLDER``), because torch tells
of the death of a child at any moment, in whatever this process does.
"""

from __future__ import annotations

import multiprocessing
import sys
from pathlib import Path

from taskaware.data.batches.batching import TextCue
from taskaware.data.batches.lost_workers import reporting_killed_workers
from taskaware.data.batches.settings import BatchingSettings
from taskaware.data.batches.stream import PlainReader, TrainingBatches
from taskaware.data.prepared import PreparedData
from taskaware.errors import DataError


def main(folder: Path) -> None:
    """Kill the reading processes after the first update, and read on."""
    data = PreparedData.open(folder)
    split, cues = data.split("train"), {task.name: TextCue() for task in data.tasks}
    settings = BatchingSettings(examples_per_batch=4, num_workers=1)
    batches = TrainingBatches(split, PlainReader(split), data.tasks, settings, cues=cues, seed=1)
    next(batches)
    try:
        with reporting_killed_workers():  # torch may say so outside of reading, too
            for child in multiprocessing.active_children():
                child.kill()
            for _ in range(1000):
                next(batches)
    except DataError as error:
        print(error)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
