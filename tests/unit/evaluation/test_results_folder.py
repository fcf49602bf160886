"""Results are never written over by those of another evaluation."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from taskaware import files
from taskaware.errors import UserError
from taskaware.evaluation.results_folder import Evaluated, folder_name, require_usable, write

FULL = Evaluated(
    which="model", data="base/prepared", data_fingerprint="a1" * 32, split="test", beam=4
)
MODEL = Path("runs/base")


def name_of(evaluated: Evaluated) -> str:
    return folder_name(evaluated, own_fingerprint=FULL.data_fingerprint, own_beam=4)


def test_all_of_a_split_of_the_models_own_data_has_the_splits_name():
    assert name_of(FULL) == "test"
    assert name_of(replace(FULL, data="/elsewhere/the same")) == "test"


def test_whatever_differs_stands_in_the_name():
    other = replace(FULL, data="s3://bucket/txt/prepared/", data_fingerprint="b2" * 32)
    assert name_of(other) == "test__txt-prepared-b2b2b2b2"
    assert name_of(replace(FULL, limit=2)) == "test__limit-2"
    assert name_of(replace(FULL, beam=1)) == "test__beam-1"
    assert name_of(replace(FULL, weights="int8")) == "test__int8"
    assert name_of(replace(FULL, tasks=("asr", "mt"))) == "test__asr+mt"
    assert name_of(replace(other, limit=2, tasks=("mt",))) == (
        "test__txt-prepared-b2b2b2b2__limit-2__mt"
    )
    many = [replace(FULL, tasks=tuple(f"mt_en_x{i:02d}" for i in range(n))) for n in (40, 41)]
    assert all(len(name_of(each)) < 60 for each in many)
    assert len({name_of(each) for each in many}) == 2
    assert folder_name(FULL, own_fingerprint="", own_beam=4).startswith("test__base-prepared-")


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"data_fingerprint": "b2" * 32}, "data a1a1a1a1 there, b2b2b2b2 here"),
        ({"limit": 2}, "--limit none there, 2 here"),
        ({"tasks": ("asr",)}, "--task none there, asr here"),
        ({"beam": 1}, "beam 4 there, 1 here"),
        ({"split": "dev"}, "split test there, dev here"),
        ({"which": "best"}, "which model there, best here"),
        ({"weights": "int8"}, "--weights float32 there, int8 here"),
    ],
)
def test_a_folder_with_results_of_another_evaluation_is_refused(
    tmp_path: Path, change: dict, what: str
):
    write(tmp_path, FULL, [], {"model": str(MODEL)})
    require_usable(tmp_path, FULL, model=MODEL, is_named=True)
    require_usable(tmp_path, replace(FULL, data="./base/prepared"), model=MODEL, is_named=True)
    with pytest.raises(UserError, match=f"{what}.*--to"):
        require_usable(tmp_path, replace(FULL, **change), model=MODEL, is_named=True)


def test_results_of_another_model_in_a_named_folder_are_refused(tmp_path: Path):
    write(tmp_path, FULL, [], {"model": str(MODEL)})
    with pytest.raises(UserError, match="model runs/base there, runs/other here"):
        require_usable(tmp_path, FULL, model=Path("runs/other"), is_named=True)


@pytest.mark.parametrize(
    ("file", "content"),
    [("outputs.jsonl", "mine"), ("results.json", "mine"), ("results.json", '{"a": 1}')],
)
def test_files_that_no_evaluation_wrote_are_left_alone(tmp_path: Path, file: str, content: str):
    (tmp_path / file).write_text(content)
    with pytest.raises(UserError, match="name another folder with --to"):
        require_usable(tmp_path, FULL, model=MODEL, is_named=True)
    assert (tmp_path / file).read_text() == content


def test_results_of_an_older_version_are_replaced_by_those_of_the_same_data(tmp_path: Path):
    old = {"model": "m", "which": "model", "data": FULL.data, "split": "test", "beam": 4}
    (tmp_path / "results.json").write_text(json.dumps({**old, "results": []}))
    require_usable(tmp_path, FULL, model=MODEL, is_named=False)
    with pytest.raises(UserError, match="data base/prepared there, txt/prepared here"):
        require_usable(tmp_path, replace(FULL, data="txt/prepared"), model=MODEL, is_named=False)


def test_the_file_says_what_was_evaluated(tmp_path: Path):
    write(tmp_path / "new", replace(FULL, limit=2, tasks=("mt",)), [], {"model": "m"})
    found = json.loads((tmp_path / "new/results.json").read_text())
    assert (found["limit"], found["tasks"], found["beam"]) == (2, ["mt"], 4)
    assert (found["data"], found["data_fingerprint"]) == (FULL.data, FULL.data_fingerprint)
    assert {path.name for path in (tmp_path / "new").iterdir()} == {"results.json", "outputs.jsonl"}


def test_a_place_that_cannot_be_written_is_refused_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file"):
        require_usable(tmp_path / "file/a/b", FULL, model=MODEL, is_named=True)
    # Root may write everywhere, so the system's answer is replaced.
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)
    with pytest.raises(UserError, match="not writable for you; name another with --to"):
        require_usable(tmp_path / "a/b", FULL, model=MODEL, is_named=False)


def test_a_link_to_nothing_is_found_out_before_decoding(tmp_path: Path):
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(UserError, match="is a link to nothing"):
        require_usable(tmp_path / "link", FULL, model=MODEL, is_named=True)


def test_two_evaluations_at_a_time_do_not_take_each_others_files(
    tmp_path: Path,
):
    other = tmp_path / ".results.json.partial"  # of another one, which is at work
    other.write_text("half")
    write(tmp_path, FULL, [], {"model": str(MODEL)})
    assert other.read_text() == "half"
    assert json.loads((tmp_path / "results.json").read_text())["model"] == str(MODEL)


@pytest.mark.parametrize("number", [1, 2])
def test_an_evaluation_that_is_stopped_while_it_writes_may_be_given_again(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    published = []

    def publish(partial: Path, path: Path) -> None:
        published.append(path)
        if len(published) == number:
            raise KeyboardInterrupt
        partial.replace(path)

    monkeypatch.setattr(files, "publish", publish)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path, FULL, [], {"model": str(MODEL)})
    require_usable(tmp_path, FULL, model=MODEL, is_named=True)
    monkeypatch.undo()
    write(tmp_path, FULL, [], {"model": str(MODEL)})
    assert {path.name for path in tmp_path.iterdir()} == {"results.json", "outputs.jsonl"}


def test_results_are_not_written_through_a_link_in_a_strangers_model(tmp_path: Path):
    (tmp_path / "mine").mkdir()
    model = tmp_path / "model"
    model.mkdir()
    (model / "evaluation").symlink_to(tmp_path / "mine")
    folder = model / "evaluation" / "model" / "test"
    with pytest.raises(UserError, match="evaluation must be a folder, but is a link"):
        require_usable(folder, FULL, model=model, is_named=False)
    require_usable(folder, FULL, model=model, is_named=True)  # who names it knows where it leads
