"""Scores as campaigns compute them."""

from __future__ import annotations

import os
import sys
import types
from typing import TYPE_CHECKING, Any

import pytest

from taskaware.cli.main import run
from taskaware.errors import DataError, MissingDependencyError, UserError
from taskaware.evaluation import campaign

if TYPE_CHECKING:
    from pathlib import Path


def mweralign() -> None:
    pytest.importorskip("mweralign", reason="the extra `campaign` is not installed")


def test_the_words_of_a_whole_go_to_the_segments_of_the_references():
    mweralign()
    references = ["The house is red.", "And the cat sat on the mat.", "Yes!"]
    whole = "the house is red and the cat sat on a mat yes"
    found = campaign.resegmented(whole, references)
    assert found == ["the house is red", "and the cat sat on a mat", "yes"]
    assert campaign.resegmented("", references) == ["", "", ""]
    assert len(campaign.resegmented("no", references)) == 3


def test_signs_go_to_segments_one_by_one_and_keep_the_spaces_between():
    mweralign()
    references = ["今天天气很好。", "我们去公园。", "OK 吃饭。"]
    found = campaign.resegmented("今天天气很好我们去公园 OK 吃饭", references, "zh")
    assert found == ["今天天气很好", "我们去公园", "OK 吃饭"]


def test_segments_of_a_reference_that_is_cut_otherwise_score_as_well_as_its_own():
    mweralign()
    references = ["a small dog runs", "over the green field", "and then it sleeps"]
    found = campaign.resegmented(" ".join(references), references)
    assert found == references
    assert campaign.translation_edit_rate(found, references).value == 0


def test_each_score_says_how_it_was_computed():
    chrf = campaign.chrf_plus_plus(["a small dog"], ["a small cat"])
    assert (chrf.metric, "nw:2" in chrf.signature) == ("chrf++", True)
    ter = campaign.translation_edit_rate(["a b c"], ["a b d"])
    assert ter.value == pytest.approx(100 / 3)
    assert "tok:tercom" in ter.signature
    with pytest.raises(DataError, match="--resegment"):
        campaign.chrf_plus_plus(["a"], ["a", "b"])


def test_whispers_normaliser_takes_numbers_and_contractions_for_what_they_mean():
    pytest.importorskip(
        "whisper_normalizer.english", reason="the extra `campaign` is not installed"
    )
    found = campaign.whisper_word_error_rate(["I'm twenty-one, uh, colour."], ["I am 21 color"])
    assert found.value == 0
    assert "norm:whisper-english" in found.signature


def test_comet_reads_a_model_of_this_machine_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    given: dict[str, Any] = {}

    class Model:
        def predict(self, rows: list[dict[str, str]], **options: Any) -> Any:
            given.update(rows=rows, options=options)
            return types.SimpleNamespace(system_score=0.75)

    def load_from_checkpoint(path: str, *, local_files_only: bool) -> Model:
        given.update(path=path, local=local_files_only)
        return Model()

    monkeypatch.setattr(campaign, "require_packages", lambda *_: None)
    monkeypatch.setattr("importlib.metadata.version", lambda name: "1.0")
    stand_in = types.ModuleType("comet")
    stand_in.load_from_checkpoint = load_from_checkpoint  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "comet", stand_in)
    with pytest.raises(UserError, match=r"must be a \.ckpt file or a folder with one"):
        campaign.comet(["s"], ["h"], ["r"], model=tmp_path)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "model.ckpt").write_bytes(b"")
    found = campaign.comet(["s"], ["h"], ["r"], model=tmp_path)
    assert (found.value, given["local"]) == (75.0, True)
    assert given["rows"] == [{"src": "s", "mt": "h", "ref": "r"}]
    assert found.signature == "model:model|unit:percent|unbabel-comet:1.0"


def test_without_their_packages_scores_say_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"mweralign.*taskaware\[campaign\]"):
        campaign.resegmented("a", ["a"])
    with pytest.raises(MissingDependencyError, match=r"taskaware\[campaign\]"):
        campaign.whisper_word_error_rate(["a"], ["a"])
    with pytest.raises(MissingDependencyError, match=r"taskaware\[comet\]"):
        campaign.comet(["a"], ["a"], ["a"], model="x")


def test_the_command_scores_files_line_by_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "h.txt").write_text("a b c d e\nx y\n", encoding="utf-8")
    (tmp_path / "r.txt").write_text("a b c d f\nx y\n", encoding="utf-8")
    files = ["score", str(tmp_path / "h.txt"), str(tmp_path / "r.txt")]
    assert run([*files, "--metric", "wer", "--metric", "ter"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["WER % 14.29", "TER % 14.29"]
    (tmp_path / "h.txt").write_text("a b c d e x y\n", encoding="utf-8")
    assert run(files) == 1
    assert "as many as the references (2), but are 1" in capsys.readouterr().err
    assert run([*files, "--metric", "comet"]) == 2
    assert "needs --sources and --comet-model" in capsys.readouterr().err


def test_the_command_says_no_error_rate_but_its_own(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    mweralign()
    (tmp_path / "h.txt").write_text("a b c x y\n", encoding="utf-8")
    (tmp_path / "r.txt").write_text("a b d\nx y\n", encoding="utf-8")
    files = [str(tmp_path / "h.txt"), str(tmp_path / "r.txt")]
    assert run(["score", *files, "--resegment", "--metric", "wer"]) == 0
    out, err = capfd.readouterr()
    assert out.startswith("WER % 20.00  ")
    assert err == ""  # that of mweralign, by other rules
    os.write(2, b"still there")
    assert capfd.readouterr().err == "still there"


@pytest.mark.parametrize("blank", ["", "\n\n", " \n"])
def test_the_command_does_not_score_against_nothing(
    blank: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    for name in ("h.txt", "r.txt"):
        (tmp_path / name).write_text(blank)
    assert run(["score", str(tmp_path / "h.txt"), str(tmp_path / "r.txt")]) == 2
    assert "r.txt must have a text to compare with" in capsys.readouterr().err


def test_the_command_reads_no_device(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "r.txt").write_text("a\n")
    assert run(["score", "/dev/zero", str(tmp_path / "r.txt")]) != 0
    assert "/dev/zero" in capsys.readouterr().err
