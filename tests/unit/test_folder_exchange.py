"""Folders that are exchanged whole: what somebody put into them stays, whatever is killed."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest

from killed import contents, killed_where
from taskaware.errors import WriteError
from taskaware.folder_exchange import atomic_folder


def test_a_folder_is_exchanged_whole_and_keeps_what_only_the_old_one_has(tmp_path: Path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "weights").write_text("old")
    (folder / "notes.txt").write_text("mine")
    with atomic_folder(folder) as partial:
        (partial / "weights").write_text("new")
        assert (folder / "weights").read_text() == "old"
    assert (folder / "weights").read_text() == "new"
    assert (folder / "notes.txt").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_failure_leaves_the_old_folder(tmp_path: Path):
    folder = tmp_path / "model"
    with atomic_folder(folder) as partial:
        (partial / "weights").write_text("old")

    def fail() -> None:
        with atomic_folder(folder) as partial:
            (partial / "weights").write_text("new")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert (folder / "weights").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_what_a_killed_process_left_between_two_renames_is_not_lost(tmp_path: Path):
    (tmp_path / ".model.old").mkdir()
    (tmp_path / ".model.old" / "notes.txt").write_text("mine")
    with atomic_folder(tmp_path / "model") as partial:
        (partial / "weights").write_text("new")
    assert {path.name for path in (tmp_path / "model").iterdir()} == {"weights", "notes.txt"}


@pytest.mark.parametrize("first", [1, 2])
@pytest.mark.parametrize("second", [1, 2, 3])
def test_notes_in_a_folder_outlive_two_processes_that_are_killed_while_they_exchange_it(
    first: int, second: int, tmp_path: Path
):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "weights").write_text("old")
    (folder / "notes.txt").write_text("mine")

    def write() -> None:
        with atomic_folder(folder) as partial:
            (partial / "weights").write_text("new")

    def kill_at_rename(number: int) -> None:
        renames = itertools.count(1)
        killed_where(
            write, tmp_path, lambda event, _: event == "os.rename" and next(renames) == number
        )

    kill_at_rename(first)
    kill_at_rename(second)
    write()
    wanted = {"model": b"", "model/weights": b"new", "model/notes.txt": b"mine"}
    assert contents(tmp_path) == wanted


def test_one_writer_of_a_folder_at_a_time(tmp_path: Path):
    with atomic_folder(tmp_path / "model") as partial:
        (partial / "weights").write_text("first")
        with (
            pytest.raises(WriteError, match="another command is writing it"),
            atomic_folder(tmp_path / "model"),
        ):
            pass
    assert (tmp_path / "model" / "weights").read_text() == "first"
    with atomic_folder(tmp_path / "model") as partial:
        (partial / "weights").write_text("second")
    assert (tmp_path / "model" / "weights").read_text() == "second"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_folder_where_a_file_system_begins_cannot_be_exchanged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "disk").mkdir()
    monkeypatch.setattr(os.path, "ismount", lambda path: path == tmp_path / "disk")
    with (
        pytest.raises(WriteError, match=r"is a mount point.*give a folder inside it"),
        atomic_folder(tmp_path / "disk"),
    ):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["disk"]
    with atomic_folder(tmp_path / "disk" / "model") as partial:
        (partial / "a.txt").write_text("a")
    assert (tmp_path / "disk" / "model" / "a.txt").read_text() == "a"


def test_a_folder_behind_a_link_is_exchanged_and_the_link_stays(tmp_path: Path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    with atomic_folder(tmp_path / "link") as partial:
        (partial / "weights").write_text("new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "disk" / "weights").read_text() == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["disk", "link"]


def test_a_file_and_a_link_to_nothing_are_never_moved_out_of_the_way(tmp_path: Path):
    (tmp_path / "thesis").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name, what in (("thesis", "a file"), ("link", "a link to nothing")):
        with (
            pytest.raises(WriteError, match=f"but is {what}: give a folder inside it, or another"),
            atomic_folder(tmp_path / name),
        ):
            pass
    assert (tmp_path / "thesis").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "thesis"]


def test_the_folder_in_which_a_program_works_is_not_taken_from_under_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "model" / "inside").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "model" / "inside")
    for place in (Path(), Path(".."), tmp_path / "model"):
        with pytest.raises(WriteError, match="the program works"), atomic_folder(place):
            pass
    with atomic_folder(Path("model")) as partial:
        (partial / "weights").write_text("new")
    assert Path("model/weights").read_text() == "new"
