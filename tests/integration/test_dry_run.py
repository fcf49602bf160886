"""``taskaware train FILE --dry-run``: what a run would take, with nothing written."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from taskaware.cli.dry_run import described
from taskaware.errors import DataError
from taskaware.run import dry_run as dry_run_module
from taskaware.run.dry_run import dry_run
from taskaware.run.settings import DataSettings, StartSettings
from tiny_corpus import prepare_corpus, tiny_experiment

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def few_updates(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(dry_run_module, "_MOST", 3)
    monkeypatch.setattr(dry_run_module, "SYNTHETIC_PIECES", 300)


def test_a_dry_run_tells_speed_memory_and_hours_and_writes_nothing(tmp_path: Path):
    data = prepare_corpus(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    experiment = tiny_experiment(data, updates=40)
    found = dry_run(experiment, tmp_path / "run", note=lambda _: None)
    assert sorted(tmp_path.rglob("*")) == before
    assert not found.is_synthetic
    assert found.tasks == ("asr_en", "st_en_de", "mt_en_de")
    assert found.examples_per_update == 12  # four of each task
    assert found.num_updates == 3
    assert found.operations > 1e6
    assert found.memory_mib > 50
    assert found.num_validations == 20
    assert found.validation_seconds > 0
    whole = 40 * found.seconds_per_update + 20 * found.validation_seconds
    assert found.hours == pytest.approx(whole / 3600)
    text = "\n".join(described(found, experiment))
    assert "Nothing was written" in text
    assert "made-up" not in text


def test_where_data_is_not_there_made_up_batches_stand_for_it_and_the_answer_says_so(
    tmp_path: Path,
):
    experiment = tiny_experiment(tmp_path / "none", tasks=("asr_en", "mt_en_de"), updates=10**9)
    limits = replace(experiment.batching, max_source=200, max_target=20)
    experiment = replace(experiment, batching=limits)
    found = dry_run(experiment, tmp_path / "run", note=lambda _: None)
    assert found.is_synthetic
    assert [size[:2] for size in found.largest] == [(4, 200), (4, 20)]
    text = "\n".join(described(found, experiment))
    assert "there is no data" in text
    assert "8 GPUs" in text  # a billion updates are worth more than this machine
    blocks = experiment.model.num_encoder_layers + experiment.model.num_decoder_layers
    assert found.block_passes == 2 * blocks  # a batch of each task
    # So little is computed that what a processor takes to begin it decides.
    assert f"{4 * found.block_passes:.1f} ms for an update" in text
    assert "estimate, not measured" in text
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_starts_from_a_model_needs_its_data(tmp_path: Path):
    experiment = tiny_experiment(tmp_path / "none")
    experiment = replace(
        experiment,
        data=DataSettings(folder=tmp_path / "none"),
        start=StartSettings(model=tmp_path / "model"),
    )
    with pytest.raises(DataError):
        dry_run(experiment, tmp_path / "run", note=lambda _: None)
