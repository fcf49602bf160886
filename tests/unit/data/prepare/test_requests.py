"""Impossible requests are refused before any work."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from three_tasks import SETTINGS, three_tasks, write_manifest

from taskaware.data.prepare import PrepareSettings, prepare
from taskaware.data.prepared.settings import ShardLimits
from taskaware.data.quality.settings import CheckSettings
from taskaware.data.sound.settings import FeatureSettings
from taskaware.errors import DataError, ExperimentError, ManifestError, OutputError, UserError

if TYPE_CHECKING:
    from pathlib import Path


def test_a_wrong_manifest_is_refused_before_any_work(tmp_path: Path):
    record = {"task": "mt", "source_text": "a", "target_text": "b", "start_seconds": 1}
    path = write_manifest(tmp_path / "m.jsonl", [record])
    stages: list[str] = []
    with pytest.raises(DataError, match=r"1 of 1 are \(100\.0%\)"):
        prepare(
            {"train": [path]},
            tmp_path / "out",
            SETTINGS,
            progress=lambda stage, done, total: stages.append(stage),
        )
    assert set(stages) == {"read manifests"}


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        (PrepareSettings(shards=ShardLimits(examples=0)), "shards.examples"),
        (PrepareSettings(shards=ShardLimits(megabytes=-1)), "shards.megabytes"),
        (PrepareSettings(features=FeatureSettings(num_mel_bins=0)), "features.num_mel_bins"),
        (PrepareSettings(features=FeatureSettings(hop_ms=0)), "features.hop_ms"),
        (PrepareSettings(features=FeatureSettings(window_ms=float("inf"))), "features.window_ms"),
        (PrepareSettings(features=FeatureSettings(low_hz=float("nan"))), "features.low_hz"),
        (PrepareSettings(features=FeatureSettings(sample_rate_hz=0)), "features.sample_rate_hz"),
        (PrepareSettings(checks=CheckSettings(max_seconds=float("nan"))), "checks.max_seconds"),
        (PrepareSettings(checks=CheckSettings(max_seconds=0.05)), "checks.max_seconds"),
        (PrepareSettings(checks=CheckSettings(min_peak=-1)), "checks.min_peak"),
        (PrepareSettings(checks=CheckSettings(max_pieces=0)), "checks.max_pieces"),
        (PrepareSettings(max_bad_share=float("nan")), "max_bad_share"),
        (PrepareSettings(num_workers=-1), "num_workers"),
    ],
)
def test_impossible_settings_are_refused_from_python_as_from_a_file(
    tmp_path: Path, settings: PrepareSettings, field: str
):
    with pytest.raises(ExperimentError, match=f"{field}:? must be"):
        prepare({"train": [tmp_path / "m.tsv"]}, tmp_path / "out", settings)
    assert not (tmp_path / "out").exists()


def test_a_manifest_that_cannot_be_read_leaves_no_folder(tmp_path: Path):
    good, wrong = three_tasks(tmp_path), write_manifest(tmp_path / "wrong.jsonl", [{"tsk": "asr"}])
    for path, message in ((wrong, "unknown column"), (tmp_path / "missing", "does not exist")):
        with pytest.raises(ManifestError, match=message):
            prepare({"train": [good, path]}, tmp_path / "inner/out", SETTINGS)
        assert not (tmp_path / "inner").exists()


def test_manifests_that_disagree_about_a_task_are_both_named(tmp_path: Path):
    record: dict[str, object] = {"task": "mt", "source_text": "hello", "target_text": "hallo"}
    one = write_manifest(tmp_path / "one.jsonl", [record])
    two = write_manifest(tmp_path / "two.jsonl", [{**record, "target_language": "de"}])
    with pytest.raises(ManifestError, match=r"one\.jsonl, line 1 .*two\.jsonl, line 1 has 'de'"):
        prepare({"train": [one], "dev": [two]}, tmp_path / "out", SETTINGS)


def test_impossible_requests_are_refused(tmp_path: Path):
    path = three_tasks(tmp_path)
    with pytest.raises(UserError, match="a train manifest must be given"):
        prepare({"test": [path]}, tmp_path / "out", SETTINGS)
    with pytest.raises(UserError, match="but is 'a/b'"):
        prepare({"train": [path], "a/b": [path]}, tmp_path / "out", SETTINGS)
    with pytest.raises(UserError, match="'dev' must have a manifest"):
        prepare({"train": [path], "dev": []}, tmp_path / "out", SETTINGS)
    with pytest.raises(UserError, match="from 0 to 1"):
        prepare({"train": [path]}, tmp_path / "out", PrepareSettings(max_bad_share=5))
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="must be a folder"):
        prepare({"train": [path]}, tmp_path / "file", SETTINGS)
