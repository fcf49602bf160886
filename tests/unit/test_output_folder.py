"""Nobody's files but our own are deleted or written over, whatever their names."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest

from killed import killed_at, killed_where
from taskaware import output_folder
from taskaware.errors import OutputError
from taskaware.output_folder import LOCK_NAME, RECORD_NAME, claimed, require_usable
from taskaware.run.files import claim_files
from taskaware.run.lock import lock

if TYPE_CHECKING:
    from pathlib import Path


def contents(folder: Path) -> dict[str, bytes]:
    """All that a person would see."""
    ours = (RECORD_NAME, LOCK_NAME)
    files = [path for path in folder.rglob("*") if path.is_file() and path.name not in ours]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def write(folder: Path, *names: str, text: str = "ours") -> None:
    with claimed(folder, names=[name.partition("/")[0] for name in names]) as output:
        for name in names:
            output.write(name, text.encode())


def test_what_an_earlier_command_wrote_is_replaced_and_deleted(tmp_path: Path):
    write(tmp_path / "out", "a.txt", "inner/b.txt")
    write(tmp_path / "out", "a.txt", text="again")
    assert contents(tmp_path / "out") == {"a.txt": b"again", "inner/b.txt": b"ours"}
    with claimed(tmp_path / "out") as output:
        output.remove_below("inner")
    assert contents(tmp_path / "out") == {"a.txt": b"again"}
    assert not (tmp_path / "out/inner").exists()


@pytest.mark.parametrize("there", ["a.txt", "inner/x.wav", "notes", ".bashrc"])
def test_a_folder_with_files_of_somebody_is_refused_and_stays_as_it_is(tmp_path: Path, there: str):
    (tmp_path / there).parent.mkdir(exist_ok=True)
    (tmp_path / there).write_text("mine")
    with pytest.raises(OutputError, match=f"but holds {there.partition('/')[0]}.*another folder"):
        write(tmp_path, "a.txt")
    assert contents(tmp_path) == {there: b"mine"}
    assert not {RECORD_NAME, LOCK_NAME} & {path.name for path in tmp_path.iterdir()}


def test_nothing_is_deleted_where_one_file_was_changed(tmp_path: Path):
    write(tmp_path, "a.txt", "b.txt")
    (tmp_path / "b.txt").write_text("mine now")
    with claimed(tmp_path) as output, pytest.raises(OutputError, match=r"b\.txt.*changed it"):
        output.remove(["a.txt", "b.txt"])
    assert contents(tmp_path) == {"a.txt": b"ours", "b.txt": b"mine now"}


def test_files_that_somebody_adds_to_our_folder_stay_and_those_in_the_way_stop_us(tmp_path: Path):
    write(tmp_path, "inner/a.txt", "c.txt")
    (tmp_path / "inner/mine.txt").write_text("mine")
    (tmp_path / "b.txt").write_text("mine")
    with claimed(tmp_path) as output:
        output.remove_below("inner")
        with pytest.raises(OutputError, match=r"b\.txt"):
            output.begin("b.txt")
        with pytest.raises(OutputError, match=r"b\.txt"):
            output.remove(["b.txt"])
    with pytest.raises(OutputError, match=r"holds b\.txt, which taskaware did not write"):
        write(tmp_path, "b.txt")
    assert contents(tmp_path) == {"inner/mine.txt": b"mine", "b.txt": b"mine", "c.txt": b"ours"}


def test_a_file_that_somebody_changed_is_theirs(tmp_path: Path):
    write(tmp_path, "a.txt", "b.txt")
    os.utime(tmp_path / "a.txt", (1, 1))  # as a copy of the folder has it: not a change
    write(tmp_path, "a.txt")
    for text in ("longer than ours", "mine"):
        (tmp_path / "a.txt").write_text(text)
        with pytest.raises(OutputError, match=r"a\.txt must be as taskaware wrote it"):
            write(tmp_path, "a.txt")
        with claimed(tmp_path) as output, pytest.raises(OutputError, match="somebody changed"):
            output.remove(["a.txt"])
        assert (tmp_path / "a.txt").read_text() == text


def test_a_folder_that_was_emptied_and_has_somebodys_files_since_is_theirs(tmp_path: Path):
    write(tmp_path, "train/a.txt")
    (tmp_path / "train/a.txt").unlink()
    write(tmp_path, "train/a.txt")  # an empty folder is free
    (tmp_path / "train/a.txt").rename(tmp_path / "train/mine.wav")
    with pytest.raises(OutputError, match=r"new or an empty folder.* but holds train/"):
        write(tmp_path, "train/a.txt")
    write(tmp_path / "two", "a.txt", "train/a.txt")
    (tmp_path / "two/train/a.txt").rename(tmp_path / "two/train/mine.wav")
    with pytest.raises(OutputError, match="holds train/, which taskaware did not write"):
        write(tmp_path / "two", "train/a.txt")


def test_a_folder_or_link_in_the_place_of_our_file_is_not_ours(tmp_path: Path):
    write(tmp_path / "out", "a.txt")
    (tmp_path / "out/a.txt").unlink()
    (tmp_path / "out/a.txt").mkdir()
    (tmp_path / "out/a.txt/mine").write_text("mine")
    with pytest.raises(OutputError, match=r"holds a\.txt/"):
        write(tmp_path / "out", "a.txt")
    write(tmp_path / "linked", "a.txt")
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "linked/a.txt").unlink()
    (tmp_path / "linked/a.txt").symlink_to(tmp_path / "mine")
    with pytest.raises(OutputError, match="changed"):
        write(tmp_path / "linked", "a.txt")
    assert (tmp_path / "mine").read_text() == "mine"


def test_a_record_that_was_broken_off_vouches_for_its_whole_lines_alone(tmp_path: Path):
    write(tmp_path, "a.txt", "b.txt")
    record = tmp_path / RECORD_NAME
    whole, _, _ = record.read_text().partition('["b.txt')
    record.write_text(whole + '["b.t')
    with pytest.raises(OutputError, match=r"b\.txt"):
        write(tmp_path, "b.txt")
    write(tmp_path, "c.txt")
    write(tmp_path, "c.txt", text="again")
    record.write_text('["../mine", ""]\n["/mine", ""]\n')
    with claimed(tmp_path, whole=False) as output:
        assert output.written == ()


def test_one_command_writes_a_folder_at_a_time(tmp_path: Path):
    with claimed(tmp_path / "out") as output:
        output.write("a.txt", b"ours")
        with pytest.raises(OutputError, match="another one is writing"), claimed(tmp_path / "out"):
            pass
        found: list[bool] = []

        def wait() -> None:
            with claimed(tmp_path / "out", waits=True) as later:
                found.append(later.owns("b.txt"))

        thread = threading.Thread(target=wait)
        thread.start()
        output.write("b.txt", b"ours")
    thread.join()
    assert found == [True]


def test_asking_beforehand_writes_nothing_and_needs_no_lock(tmp_path: Path):
    require_usable(tmp_path / "a/b")
    assert list(tmp_path.iterdir()) == []
    with claimed(tmp_path / "out") as output:
        output.write("a.txt", b"ours")
        require_usable(tmp_path / "out", names=["a.txt"])
    (tmp_path / "old").mkdir()
    (tmp_path / "old/a.txt").write_text("of an earlier version")
    require_usable(tmp_path / "old", earlier=lambda: ["a.txt"])
    assert [path.name for path in (tmp_path / "old").iterdir()] == ["a.txt"]
    with pytest.raises(OutputError, match=r"holds a\.txt"):
        require_usable(tmp_path / "old")


def test_a_command_that_wrote_nothing_leaves_no_folder(tmp_path: Path):
    with pytest.raises(ValueError, match="stop"), claimed(tmp_path / "a/b"):
        raise ValueError("stop")
    assert not (tmp_path / "a").exists()


def test_a_place_that_cannot_be_a_folder_is_named(tmp_path: Path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "nothing").symlink_to(tmp_path / "missing")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name, reason in (
        ("file", "is a file"),
        ("file/inner", "cannot be made"),
        ("nothing", "a link to nothing"),
        ("nothing/inner", "cannot be made"),
        ("loop", "a link to nothing"),
        ("x" * 300, "cannot be made"),
    ):
        with pytest.raises(OutputError, match=reason), claimed(tmp_path / name):
            pass
    assert (tmp_path / "file").read_text() == "mine"


def test_a_link_to_a_folder_is_that_folder(tmp_path: Path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/a.txt").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "mine")
    with pytest.raises(OutputError, match=r"holds a\.txt"):
        write(tmp_path / "link", "b.txt")
    (tmp_path / "mine/a.txt").unlink()
    write(tmp_path / "link", "b.txt")
    assert contents(tmp_path / "mine") == {"b.txt": b"ours"}


@pytest.mark.parametrize("name", [RECORD_NAME, LOCK_NAME])
def test_nothing_is_written_through_a_link_that_a_stranger_put_there(name: str, tmp_path: Path):
    mine = tmp_path / "mine.txt"
    mine.write_text("mine")
    write(tmp_path / "out", "a.txt")
    (tmp_path / "out" / name).unlink(missing_ok=True)
    (tmp_path / "out" / name).symlink_to(mine)
    with pytest.raises(OutputError, match="must be a file, but is a link"):
        write(tmp_path / "out", "b.txt")
    assert mine.read_text() == "mine"


def test_nothing_is_written_or_deleted_in_a_folder_behind_a_link_that_a_stranger_put_there(
    tmp_path: Path,
):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.txt").write_text("mine")
    write(tmp_path / "out", "train/a.txt")
    (tmp_path / "out" / "train" / "a.txt").unlink()
    (tmp_path / "out" / "train").rmdir()
    (tmp_path / "out" / "train").symlink_to(tmp_path / "mine")
    # The record vouches for train/a.txt, and a stranger's may say so of anything.
    with claimed(tmp_path / "out") as folder:
        for act in (
            lambda: folder.write("train/b.txt", b"ours"),
            lambda: folder.begin("train/b.txt"),
            lambda: folder.remove(["train/a.txt"]),
        ):
            with pytest.raises(OutputError, match="train must be a folder, but is a link"):
                act()
    assert contents(tmp_path / "mine") == {"a.txt": b"mine"}


def test_who_is_refused_leaves_the_lock_to_the_command_that_has_not_written_yet(tmp_path: Path):
    with claimed(tmp_path / "out") as output:
        for _ in range(2):
            with pytest.raises(OutputError, match="only one command"), claimed(tmp_path / "out"):
                pass
        output.write("a.txt", b"ours")
    assert contents(tmp_path) == {"out/a.txt": b"ours"}


def test_what_another_command_writes_while_the_record_is_read_is_not_taken_for_somebodys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    read = output_folder.read_record

    def too_early(path: Path) -> dict[str, str]:
        monkeypatch.undo()
        before = read(path)
        write(tmp_path, "a.txt")
        return before

    monkeypatch.setattr(output_folder, "read_record", too_early)
    require_usable(tmp_path, names=["a.txt"])  # refused nothing
    assert output_folder.read_record is read, "the other command has written meanwhile"
    assert (tmp_path / "a.txt").exists()


def test_a_folder_of_folders_is_ours_wherever_the_command_was_killed_that_made_them(
    tmp_path: Path,
):
    def make(outer: Path) -> None:
        require_usable(outer)
        write(outer / "corpus", "a.txt")
        with lock(outer / "run"):
            claim_files(outer / "run", restart=False)
        write(outer, "report.html")

    number, outer = 1, tmp_path / "killed1"
    while killed_at(lambda outer=outer: make(outer), outer, number):
        make(outer)
        assert contents(outer) == {
            "corpus/a.txt": b"ours",
            "report.html": b"ours",
            "run/.lock": b"",
        }
        number += 1
        outer = tmp_path / f"killed{number}"
    assert number > 20


def test_what_a_process_that_is_killed_inside_its_record_left_goes_with_the_next_claim(
    tmp_path: Path,
):
    def write_and_forget() -> None:
        with claimed(tmp_path) as output:
            output.write("ours", b"")
            output.forget()

    def is_record(event: str, path: Path) -> bool:
        return event == "os.rename" and path.name == ".taskaware-written.partial"

    assert killed_where(write_and_forget, tmp_path, is_record)
    assert (tmp_path / ".taskaware-written.partial").exists()
    with claimed(tmp_path):
        pass  # a command that finds all complete
    assert {path.name for path in tmp_path.iterdir()} == {LOCK_NAME, RECORD_NAME, "ours"}


@pytest.mark.parametrize("name", ["../there.txt", "a/../../there.txt", "{}/there.txt"])
def test_nothing_is_written_where_a_name_leads_out_of_the_folder(name: str, tmp_path: Path):
    name = name.format(tmp_path)
    with claimed(tmp_path / "out") as folder:
        folder.write("mine.txt", b"mine")
        with pytest.raises(OutputError, match="its name leads elsewhere"):
            folder.write(name, b"mine")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]
