"""How much of a batch of text pairs is padding, by the order that examples are bucketed in.

::

    python benchmarks/padding.py --source train.en --target train.de --max-tokens 2048

Prints the share of padding for windows of 50, 200 and 1,000 batches: sorted by source, then target;
by the sum; by the longer side; and as ``taskaware`` does it (see ``data.batching``).
"""

from __future__ import annotations

import argparse
import gzip
import math
from pathlib import Path

import numpy as np

from taskaware.data.batches.batching import cut_batches, plan
from taskaware.data.batches.settings import BatchingSettings
from taskaware.data.vocabulary import Vocabulary


def main() -> None:
    """Print a line for each window."""
    parser = argparse.ArgumentParser(description="Padding of batches of text pairs.")
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--target", type=Path, required=True)
    parser.add_argument("--max-tokens", type=int, default=2048)
    parser.add_argument("--vocabulary-size", type=int, default=4000)
    arguments = parser.parse_args()
    texts = [read(arguments.source), read(arguments.target)]
    vocabulary = Vocabulary.train(sorted({*texts[0], *texts[1]}), size=arguments.vocabulary_size)
    sources, targets = (np.array([len(r) for r in vocabulary.encode_many(t)]) for t in texts)
    for num_batches in (50, 200, 1000):
        settings = BatchingSettings(
            strategy="dynamic", max_tokens=arguments.max_tokens, bucket_batches=num_batches
        )
        orders = {
            "source, target": (targets, sources),
            "sum": (targets, sources + targets),
            "longer": (sources, targets, np.maximum(sources, targets)),
        }
        shares = {
            name: padding(sorted_batches(keys, sources, targets, settings), sources, targets)
            for name, keys in orders.items()
        }
        ours = plan(
            np.arange(len(sources)),
            (sources, targets),
            is_text=True,
            settings=settings,
            random=np.random.default_rng(0),
        )
        shares["ours"] = padding(ours, sources, targets)
        figures = "  ".join(f"{name} {share:.1%}" for name, share in shares.items())
        print(f"{arguments.max_tokens:,} tokens, {num_batches:,} batches a window: {figures}")


def read(path: Path) -> list[str]:
    """Return the lines of a file, compressed or not."""
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return data.decode().removesuffix("\n").split("\n")


def sorted_batches(
    keys: tuple[np.ndarray, ...],
    sources: np.ndarray,
    targets: np.ndarray,
    settings: BatchingSettings,
) -> list[np.ndarray]:
    """Return batches cut from windows that are sorted by keys, the last one first."""
    order = np.random.default_rng(0).permutation(len(sources))
    per_batch = settings.max_tokens / max(sources.mean(), targets.mean() + 1)
    window = math.ceil(per_batch) * settings.bucket_batches
    batches: list[np.ndarray] = []
    for start in range(0, len(order), window):
        part = order[start : start + window]
        part = part[np.lexsort(tuple(key[part] for key in keys))]
        batches += cut_batches(part, sources, targets, is_text=True, settings=settings)
    return batches


def padding(batches: list[np.ndarray], sources: np.ndarray, targets: np.ndarray) -> float:
    """Return the share of positions that hold nothing."""
    positions = sum(len(b) * (sources[b].max() + targets[b].max() + 1) for b in batches)
    return 1 - float(sources.sum() + targets.sum() + len(targets)) / float(positions)


if __name__ == "__main__":
    main()
