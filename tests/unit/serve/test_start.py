"""What ``taskaware serve`` refuses before it loads a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from taskaware.cli.main import run
from taskaware.cli.serve import KEY_VARIABLE, _api_key
from taskaware.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("folder", ["file", "file/tasks", "/proc/none/tasks"])
def test_a_tasks_folder_that_cannot_be_written_is_refused_at_the_start(
    folder: str, tmp_path: Path, capsys: pytest.CaptureFixture
):
    (tmp_path / "file").write_text("")
    arguments = ["serve", str(tmp_path / "no-model"), "--tasks-folder", str(tmp_path / folder)]
    assert run(arguments) == 2
    assert f"{tmp_path / folder} must be a folder that can be written" in capsys.readouterr().err


@pytest.mark.parametrize("key", ["  ", "\n", "schlüssel", "a\tb"])
def test_a_key_that_no_client_can_send_is_refused_wherever_it_stands(
    key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(KEY_VARIABLE, key)
    with pytest.raises(UserError, match=f"the variable {KEY_VARIABLE} must have a key"):
        _api_key(None)
    file = tmp_path / "key"
    file.write_bytes(key.encode("utf-8", "replace"))
    with pytest.raises(UserError, match="key must have a key"):
        _api_key(file)


def test_the_key_of_the_variable_is_that_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = tmp_path / "key"
    for written, key in ((" right \n", "right"), ("sk-A_b.1/+=~ 2", "sk-A_b.1/+=~ 2")):
        monkeypatch.setenv(KEY_VARIABLE, written)
        file.write_text(written)
        assert _api_key(None) == _api_key(file) == key
    monkeypatch.setenv(KEY_VARIABLE, "")
    assert _api_key(None) is None
