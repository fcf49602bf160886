"""Arguments are checked before anything is read or written."""

from __future__ import annotations

from pathlib import Path

import pytest

from taskaware.cli.main import run

AUGMENT = ["augment", "translate", "--manifest", "m", "--model", "m", "--task", "t", "--to", "x"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["evaluate", "m", "--data", "d", "--limit", "-1"], "--limit must be a whole number of at"),
        (["evaluate", "m", "--data", "d", "--limit", "0"], "of at least 1, but is 0"),
        (["evaluate", "m", "--data", "d", "--beam", "0"], "--beam must be"),
        (["evaluate", "m", "--data", "d", "--beam", "2.5"], "--beam must be a whole number, but"),
        (["evaluate", "m", "--data", "d", "--limit", "nan"], "but is 'nan'"),
        (["evaluate", "m", "--data", "d", "--limit", "9" * 20], "at most 2,147,483,647"),
        (["evaluate", "m", "--data", "d", "--limit", "9" * 5000], "must be a whole number"),
        (["predict", "m", "--text", "a", "--beam", "0"], "--beam must be a whole number of at"),
        (["predict", "m", "--text", "a", "--num-best", "1.5"], "--num-best must be a whole"),
        (["train", "x.toml", "--processes", "0"], "--processes must be"),
        (["train", "x.toml", "--processes", "-2"], "at least 1, but is -2"),
        (["train", "x.toml", "--processes", "100000"], "at most 1,024"),
        (["study", "x.toml", "--jobs", "-1"], "--jobs must be"),
        (["study", "x.toml", "--seeds", "1", "--seeds", "-3"], "--seeds must be"),
        (["study", "x.toml", "--seeds", "1.5"], "--seeds must be a whole number"),
        (["augment", "x.toml", "--workers", "-1"], "--workers must be"),
        ([*AUGMENT, "--beams", "0"], "--beams must be"),
        ([*AUGMENT, "--top", "-1"], "--top must be"),
        ([*AUGMENT, "--examples-per-batch", "0"], "--examples-per-batch must be"),
        (["augment", "speak", "--manifest", "m", "--to", "x", "--voices", "0"], "--voices must"),
        (["augment", "signal", "--manifest", "m", "--to", "x", "--seed", "-1"], "--seed must be"),
        (["prepare", "--train", "x", "--to", "y", "--vocabulary-size", "0"], "--vocabulary-size"),
    ],
)
def test_a_number_that_cannot_be_is_refused_with_what_it_must_be(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
):
    assert run(words) == 2
    err = capsys.readouterr().err
    assert err.startswith("taskaware: --")
    assert said in err
    assert "--help" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["evaluate"], "MODEL must be given; see: taskaware evaluate --help"),
        (["evaluate", "m"], "--data must be given; see: taskaware evaluate --help"),
        (["evaluate", "m", "--data"], "--data needs a value after it"),
        (["evaluate", "m", "--data", "d", "more"], "an argument too many: more"),
        (
            ["evaluate", "m", "--data", "d", "--device", "gpu"],
            "one of auto, cpu, cuda, but is 'gpu'",
        ),
        (["train", "--resart"], "no option '--resart' (did you mean '--restart'?)"),
        (["evalute"], "no command 'evalute' (did you mean 'evaluate'?)"),
        (["nonsense"], "predict, serve, inspect"),
        (["data", "statistics"], "did you mean 'stats'"),
        (["inspect", "m", "--json=x"], "--json must be true or false, but is 'x'"),
    ],
)
def test_misuse_is_one_line_in_the_form_of_all_messages(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
):
    assert run(words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("taskaware: ")
    assert captured.err.count("\n") == 1
    assert said in captured.err


@pytest.mark.parametrize("words", [["train", "x.toml", "--to", ""], ["train", ""]])
def test_an_empty_argument_is_refused_and_does_not_mean_the_current_folder(
    words: list[str], capsys: pytest.CaptureFixture[str]
):
    assert run(words) == 2
    assert "must not be empty" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["[1] talks.tsv", "[1]", '["a.tsv", "b.tsv"]', '{"a": 1}'])
@pytest.mark.parametrize("words", [["data", "stats", "--train"], AUGMENT[:3]])
def test_a_name_that_begins_like_json_is_a_name(
    words: list[str], name: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    rest = [*AUGMENT[4:-1], str(tmp_path / "x.jsonl")] if words[0] == "augment" else []
    assert run([*words, name, *rest]) == 2
    assert f"{name}: the manifest does not exist" in capsys.readouterr().err


def test_a_folder_to_write_whose_name_is_not_utf_8_is_refused_before_any_work(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    folder = f"{tmp_path}/caf\udce9"
    assert run(["train", "x.toml", "--to", folder]) == 2
    assert r"caf\udce9' is not" in capsys.readouterr().err
    assert not Path(folder).exists()
