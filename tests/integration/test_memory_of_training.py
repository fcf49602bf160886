"""What training holds in memory on a CPU, whatever the shapes of its batches."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from taskaware.data.prepare import PrepareSettings, prepare

STATM = Path("/proc/self/statm")
WORDS = ("red", "house", "tree", "river", "bird", "stone", "cloud", "road")
# Trains as a user does, in a process of its own, and prints the memory that it holds at the end.
PROGRAM = """
import sys
from pathlib import Path
from taskaware.held_memory import held_mib
from taskaware.run.train import train_experiment
from tiny_corpus import Silent, tiny_experiment

data, folder, precision = sys.argv[1:]
experiment = tiny_experiment(
    Path(data),
    model={"d_model": 32, "d_ff": 128, "num_encoder_layers": 2, "num_decoder_layers": 2},
    batching={"strategy": "dynamic", "max_tokens": 400, "bucket_batches": 3},
    updates=25, precision=precision, save_every=0, validate_every=0, average_last=0,
    final="last",
)
held = []

def measure(update):
    held.append(held_mib())

train_experiment(experiment, Path(folder), display=Silent(measure))
print(held[9], max(held))
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Texts of many lengths, so that nearly every batch has a shape of its own."""
    folder = tmp_path_factory.mktemp("texts")
    random = np.random.default_rng(1)
    rows = ["task\tsource_text\ttarget_text\tsource_language\ttarget_language"]
    for _ in range(600):
        source, target = (
            " ".join(random.choice(WORDS, int(random.integers(1, 60)))) for _ in range(2)
        )
        rows.append(f"mt_en_de\t{source}\t{target}\ten\tde")
    (folder / "train.tsv").write_text("\n".join(rows) + "\n")
    settings = PrepareSettings(vocabulary_size=300, num_workers=1)
    prepare({"train": [folder / "train.tsv"]}, folder / "data", settings)
    return folder / "data"


def held_mib(data: Path, folder: Path, precision: str) -> tuple[float, float]:
    """Return the MiB held after ten updates, each of another shape, and the most of all."""
    command = [sys.executable, "-c", PROGRAM, str(data), str(folder), precision]
    tests = str(Path(__file__).resolve().parents[1])
    output = subprocess.run(
        command, check=True, capture_output=True, text=True, cwd=tests, timeout=300
    )
    early, most = map(float, output.stdout.split())
    return early, most


@pytest.mark.skipif(not STATM.exists(), reason="the memory held is read from /proc")
def test_bfloat16_on_a_cpu_holds_little_more_than_float32_and_many_shapes_add_little(
    data: Path, tmp_path: Path
):
    (_, wide), (early, narrow) = (
        held_mib(data, tmp_path / precision, precision) for precision in ("float32", "bfloat16")
    )
    assert narrow <= 1.3 * wide
    assert narrow <= 1.15 * early  # fifteen more shapes
