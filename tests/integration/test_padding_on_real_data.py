"""At the default buckets, less than a twentieth of real batches is padding."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from taskaware.data.batches.batching import plan
from taskaware.data.batches.settings import BatchingSettings
from taskaware.data.vocabulary import Vocabulary

SHARED = Path(__file__).resolve().parents[3] / "shared/data"


def padding(lengths: np.ndarray, longest: list[np.ndarray]) -> float:
    return 1 - float(lengths.sum()) / sum(float(part.max()) * len(part) for part in longest)


def test_frames_of_librispeech():
    folder = SHARED / "librispeech_mini"
    if not (folder / "manifest.tsv").is_file():
        pytest.skip("the LibriSpeech recordings are not here")
    header, *lines = (folder / "manifest.tsv").read_text(encoding="utf-8").splitlines()
    columns = header.split("\t")
    rows = [dict(zip(columns, line.split("\t"), strict=True)) for line in lines]
    rows = [row for row in rows if row["split"] == "train"]
    frames = np.array([int(100 * float(row["duration_seconds"])) for row in rows])
    pieces = np.array([len(row["en"]) // 4 for row in rows])
    batches = plan(
        np.arange(len(rows)),
        (frames, pieces),
        is_text=False,
        settings=BatchingSettings(strategy="dynamic", max_source=4000),
        random=np.random.default_rng(0),
    )
    assert sum(map(len, batches)) == len(rows)
    assert padding(frames, [frames[batch] for batch in batches]) <= 0.05


@pytest.mark.parametrize("max_tokens", [1024, 2048, 4096])
def test_tokens_of_multi30k(max_tokens: int):
    folder = SHARED / "multi30k"
    if not folder.is_dir():
        pytest.skip("the captions are not here")
    english, german = (next(iter(sorted(folder.rglob(f"train.{of}*")))) for of in ("en", "de"))
    texts = [read(path) for path in (english, german)]
    vocabulary = Vocabulary.train(texts[0][:5000] + texts[1][:5000], size=4000)
    sources, targets = (
        np.array([len(row) for row in vocabulary.encode_many(part)]) for part in texts
    )
    batches = plan(
        np.arange(len(sources)),
        (sources, targets),
        is_text=True,
        settings=BatchingSettings(strategy="dynamic", max_tokens=max_tokens),
        random=np.random.default_rng(0),
    )
    assert sum(map(len, batches)) == len(sources) == 29_000
    positions = sum(len(b) * (sources[b].max() + targets[b].max()) for b in batches)
    assert 1 - (sources.sum() + targets.sum()) / positions <= 0.05


def read(path: Path) -> list[str]:
    import gzip

    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return data.decode().removesuffix("\n").split("\n")
