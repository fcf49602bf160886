"""Writing files: whole or not at all, with the mode that the umask says."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from killed import contents, in_a_fork, killed_where
from taskaware.errors import UserError, WriteError
from taskaware.files import atomic_file, link_or_copy, require_name, write_text

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(params=[0o022, 0o027, 0o002])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_file_has_the_mode_of_the_umask_also_where_its_writer_puts_a_private_one_there(
    umask: int, tmp_path: Path
):
    with atomic_file(tmp_path / "file") as partial:
        with tempfile.NamedTemporaryFile(dir=tmp_path, delete=False) as private:
            pass  # for the owner alone
        (tmp_path / private.name).replace(partial)
    assert mode(tmp_path / "file") == 0o666 & ~umask


def test_a_folder_that_may_not_be_entered_is_no_matter_of_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def refused(path: Path) -> os.stat_result:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "stat", refused)
    with pytest.raises(UserError, match="change the permissions of the folders above it"):
        require_name(tmp_path / "closed" / "talk.wav")


def test_a_text_is_written_as_it_is_and_its_folder_made(tmp_path: Path):
    write_text(tmp_path / "new" / "text", "Straße\r\n")
    assert (tmp_path / "new" / "text").read_bytes() == "Straße\r\n".encode()


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failure_leaves_the_old_file_and_nothing_beside_it(
    error: type[BaseException], tmp_path: Path
):
    write_text(tmp_path / "file", "old")

    def fail() -> None:
        with atomic_file(tmp_path / "file") as partial:
            partial.write_text("half")
            raise error

    with pytest.raises(error):
        fail()
    assert (tmp_path / "file").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_what_the_system_refuses_is_said_with_the_path_and_what_to_do(tmp_path: Path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(WriteError, match=r"file/inner must be writable, but: .*same command again"):
        write_text(tmp_path / "file" / "inner", "text")
    with pytest.raises(WriteError, match="No space left"), atomic_file(tmp_path / "other"):
        raise OSError(28, "No space left on device")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_what_a_killed_process_left_of_a_file_is_deleted_by_the_next_that_writes_it(
    tmp_path: Path,
):
    names = (".file.7-7.partial", ".other.7-7.partial", ".file.mine.partial")
    for name in names:
        (tmp_path / name).write_text("half")

    def write() -> None:
        write_text(tmp_path / "file", "whole")

    assert killed_where(write, tmp_path, lambda event, _: event == "os.rename")
    assert len(list(tmp_path.iterdir())) == len(names)  # the first of them has gone, one has come
    write()
    assert sorted(contents(tmp_path)) == [".file.mine.partial", ".other.7-7.partial", "file"]


def test_a_file_that_another_one_is_writing_is_left_to_it(tmp_path: Path):
    with atomic_file(tmp_path / "file") as partial:
        partial.write_text("first")
        assert not in_a_fork(lambda: write_text(tmp_path / "file", "second"))
        assert partial.read_text() == "first"
        assert (tmp_path / "file").read_text() == "second"
    assert contents(tmp_path) == {"file": b"first"}


@pytest.mark.parametrize("has_links", [True, False])
def test_a_second_name_has_the_same_content_with_and_without_hard_links(
    has_links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "one").write_text("weights")
    if not has_links:

        def refuse(*_: object) -> None:
            raise PermissionError("no hard links here")

        monkeypatch.setattr(os, "link", refuse)
    for _ in range(2):
        link_or_copy(tmp_path / "one", tmp_path / "two")
    assert (tmp_path / "two").read_text() == "weights"
    assert (tmp_path / "one").samefile(tmp_path / "two") == has_links
    assert {path.name for path in tmp_path.iterdir()} == {"one", "two"}
