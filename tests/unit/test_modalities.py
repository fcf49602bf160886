"""The table of modalities: what every entry must have, and that one entry is enough."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, get_args

import pytest
from torch import nn

from taskaware.data.manifest.line import COLUMNS
from taskaware.data.manifest.read import read_manifest
from taskaware.data.manifest.write import to_line
from taskaware.model.parts import create_frontends
from taskaware.model.settings import ModelSettings
from taskaware.types import MODALITIES, Modality, ModalityFacts

if TYPE_CHECKING:
    from pathlib import Path

EVERY_MODALITY = pytest.mark.parametrize("facts", MODALITIES.values(), ids=list(MODALITIES))


def test_the_table_has_every_name_that_a_type_checker_knows():
    assert set(MODALITIES) == set(get_args(Modality))
    assert all(facts.name == name for name, facts in MODALITIES.items())


def test_no_two_modalities_share_a_column():
    assert len({facts.column for facts in MODALITIES.values()}) == len(MODALITIES)


@EVERY_MODALITY
def test_every_modality_has_a_column_a_unit_and_a_front_end(facts: ModalityFacts):
    assert facts.column in COLUMNS
    assert facts.unit in ("pieces", "frames")
    frontends = create_frontends(ModelSettings(num_features=8), {facts.name})
    # A text's front end is the embedding that sources and targets share.
    assert list(frontends) == ([] if facts.is_text else [facts.name])
    assert all(isinstance(frontend, nn.Module) for frontend in frontends.values())


@EVERY_MODALITY
def test_a_manifest_gives_back_a_source_of_every_modality(tmp_path: Path, facts: ModalityFacts):
    path = tmp_path / "manifest.tsv"
    path.write_text(f"task\t{facts.column}\ttarget_text\nname\tsource\tGuten Tag\n")
    (line,) = read_manifest(path).lines
    assert line.task.modality is facts
    assert line.task.kind == facts.kind
    again = tmp_path / "manifest.jsonl"
    again.write_text(to_line(line.example, line.task))
    (same,) = read_manifest(again).lines
    assert (same.task, same.example) == (line.task, line.example)


@EVERY_MODALITY
def test_the_kind_of_a_task_follows_from_its_languages(tmp_path: Path, facts: ModalityFacts):
    header = f"task\t{facts.column}\ttarget_text\tsource_language\ttarget_language\n"
    path = tmp_path / "manifest.tsv"
    path.write_text(f"{header}same\tx\ty\ten\ten\nother\tx\ty\ten\tde\n")
    same, other = read_manifest(path).lines
    assert same.task.kind == facts.kind
    assert other.task.kind == facts.kind_between_languages


NEW_MODALITY = """
import sys
from pathlib import Path
import numpy as np
from taskaware import types

types.MODALITIES["lips"] = types.ModalityFacts(
    name="lips", column="video", unit="frames", kind="lip reading", kind_between_languages="other"
)
from taskaware.data.batches.batching import batches_of
from taskaware.data.prepare import prepare
from taskaware.data.prepared import PreparedData

folder = Path(sys.argv[1])
np.save(folder / "a.npy", np.ones((5, 3), np.float32))
(folder / "train.tsv").write_text("task\\tvideo\\ttarget_text\\nlips\\ta.npy\\thello\\n")
prepare({"train": [folder / "train.tsv"]}, folder / "out")
data = PreparedData.open(folder / "out")
split, task = data.split("train"), data.tasks[0]
batch, = batches_of(split, task, [[0]], vocabulary=data.vocabulary, cue="none")
print(batch.task.kind, list(batch.source.shape), (folder / "out/train/lips-000000.tar").is_file())
"""


def test_an_entry_in_the_table_is_all_that_a_new_modality_needs_of_the_data(tmp_path: Path):
    # In a process of its own, as the table must be complete before the rooms are imported.
    result = subprocess.run(
        [sys.executable, "-c", NEW_MODALITY, str(tmp_path)], capture_output=True, text=True
    )
    assert result.stdout == "lip reading [1, 5, 3] True\n", result.stderr
