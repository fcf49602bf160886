"""What ``taskaware study`` says where more than one thing fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from taskaware.cli import study as module
from taskaware.cli.main import run
from taskaware.errors import DataError, TrainingError

STUDY = Path(__file__).resolve().parents[3] / "studies" / "table6.toml"


def test_a_run_that_failed_is_said_also_where_the_table_of_the_others_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    pytest.importorskip("matplotlib")
    pytest.importorskip("sklearn")

    def fail(*_: object) -> None:
        raise TrainingError("a run failed")

    def fail_too(*_: object) -> None:
        raise DataError("a file is damaged")

    monkeypatch.setattr(module, "_do", fail)
    monkeypatch.setattr(module, "_report", fail_too)
    monkeypatch.setattr("taskaware.study.plan.finished_seeds", lambda _: (1,))
    assert run(["study", str(STUDY), "--to", str(tmp_path)]) == 1
    captured = capsys.readouterr()
    assert "a run failed" in captured.err
    assert "a file is damaged" in captured.out + captured.err
