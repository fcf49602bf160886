"""Manifests of three tasks on a few made-up recordings, and what tests read of a preparation."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING

import numpy as np
import soundfile

from taskaware.data.prepare import PrepareReport, PrepareSettings

if TYPE_CHECKING:
    from pathlib import Path

RATE_HZ = 16_000
ENGLISH = ["the red house", "a green tree", "two old dogs", "my blue car", "one white bird"]
GERMAN = ["das rote Haus", "ein grüner Baum", "zwei alte Hunde", "mein blaues Auto", "ein Vogel"]
LENIENT = PrepareSettings(vocabulary_size=400, max_bad_share=1.0, num_workers=2)
SETTINGS = PrepareSettings(vocabulary_size=400, num_workers=2)


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(0, 0.1, int(seconds * RATE_HZ)).astype(np.float32)


def write_manifest(path: Path, records: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def three_tasks(folder: Path, name: str = "train", numbers: range = range(5)) -> Path:
    """Write recordings and a manifest of recognition, speech and text translation on them."""
    records: list[dict[str, object]] = []
    for i in numbers:
        path = folder / f"{name}{i}.flac"
        soundfile.write(path, noise(0.5 + 0.1 * i, seed=i), RATE_HZ)
        speech = {"audio": path.name, "source_language": "en", "utterance": f"u{i}"}
        english, german = ENGLISH[i], GERMAN[i]
        records += [
            {"task": "asr", **speech, "target_language": "en", "target_text": english},
            {"task": "st", **speech, "target_language": "de", "target_text": german},
            {
                "task": "mt",
                "source_text": english,
                "target_text": german,
                "source_language": "en",
                "target_language": "de",
                "utterance": f"u{i}",
            },
        ]
    return write_manifest(folder / f"{name}.jsonl", records)


def read_report(report: PrepareReport | Path) -> list[dict[str, str]]:
    path = report.report_path if isinstance(report, PrepareReport) else report / "report.tsv"
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def overlapping(folder: Path) -> dict[str, list[Path]]:
    """Manifests whose dev has two of train's five sentences, spoken by another voice."""
    return {"train": [three_tasks(folder)], "dev": [three_tasks(folder, "dev", range(2))]}


def everything(folder: Path) -> dict[str, bytes]:
    """Every file but our record and lock."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    names = {path: str(path.relative_to(folder)) for path in files}
    return {n: path.read_bytes() for path, n in names.items() if ".taskaware" not in n}
