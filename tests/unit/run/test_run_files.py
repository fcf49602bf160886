"""A run's folder: what is not the run's stays, and stops what would meet it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from taskaware.errors import OutputError
from taskaware.output_folder import LOCK_NAME, RECORD_NAME
from taskaware.run.files import claim_files

if TYPE_CHECKING:
    from pathlib import Path

RUN = (
    *("experiment.toml", "log.jsonl", "checkpoints/update-00000002/state.json"),
    *("checkpoints/update-00000002/model.safetensors", "model/model.json"),
    *("taskwise/asr_en/vocabulary.model", "evaluation/model/test/results.json"),
    "tensorboard/events.out.tfevents.1",
)


def write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")


def files(folder: Path) -> set[str]:
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    return found - {RECORD_NAME, LOCK_NAME}


def test_starting_over_deletes_what_the_run_wrote_and_nothing_else(tmp_path: Path):
    write(tmp_path, "mine.toml", "notes/model.json")
    claim_files(tmp_path, restart=False)
    write(tmp_path, *RUN)
    claim_files(tmp_path, restart=False)
    assert files(tmp_path) == {*RUN, "mine.toml", "notes/model.json"}
    claim_files(tmp_path, restart=True)
    assert files(tmp_path) == {"mine.toml", "notes/model.json"}
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    "name",
    [
        *("model/notes.md", "checkpoints/mine.pt", "evaluation/mine.csv"),
        "checkpoints/update-00000002-good/model.safetensors",
        "best_weights/update-00000002-good.safetensors",
    ],
)
def test_starting_over_is_refused_where_somebody_put_a_file_among_the_runs(
    tmp_path: Path, name: str
):
    claim_files(tmp_path, restart=False)
    write(tmp_path, *RUN, name)
    claim_files(tmp_path, restart=False)  # going on deletes nothing
    with pytest.raises(OutputError, match=f"holds {name}, which no run wrote"):
        claim_files(tmp_path, restart=True)
    assert files(tmp_path) == {*RUN, name}


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("name", ["experiment.toml", "model/weights.pt", "evaluation/x", "best/y"])
def test_a_folder_with_files_of_somebody_by_these_names_takes_no_run(
    tmp_path: Path, name: str, *, restart: bool
):
    write(tmp_path, name)
    with pytest.raises(OutputError, match="which taskaware did not write"):
        claim_files(tmp_path, restart=restart)
    assert files(tmp_path) == {name}


def test_a_run_of_a_version_without_a_record_is_gone_on_with(tmp_path: Path):
    write(tmp_path, "experiment.toml", "checkpoints/update-00000002/state.json")
    claim_files(tmp_path, restart=False)
    claim_files(tmp_path, restart=True)
    assert files(tmp_path) == set()
