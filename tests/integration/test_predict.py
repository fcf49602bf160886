"""``taskaware predict``: one line out for each line in, labels, manifests, and what is refused."""

from __future__ import annotations

import io
import json
import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile

import taskaware
from taskaware.cli.main import run
from taskaware.run.train import train_experiment
from tiny_corpus import RATE_HZ, Silent, prepare_corpus, speak, tiny_experiment

if TYPE_CHECKING:
    from pathlib import Path

    from taskaware import TaskAwareModel


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    place = tmp_path_factory.mktemp("predict")
    experiment = tiny_experiment(prepare_corpus(place), updates=4, validate_every=0, save_every=0)
    assert train_experiment(experiment, place / "run", display=Silent())
    return place / "run"


@pytest.fixture(scope="module")
def model(folder: Path) -> TaskAwareModel:
    """Without warnings of long texts, which are tested from Python."""
    return replace(taskaware.load(folder, device="cpu"), longest_sources={})


@pytest.fixture(scope="module")
def recording(folder: Path) -> Path:
    path = folder.parent / "a.wav"
    soundfile.write(path, speak("one two"), RATE_HZ)
    return path


@pytest.fixture
def predict(folder: Path, capsys: pytest.CaptureFixture[str]):
    """Run the command; return its exit code, its lines and what it said."""

    def call(*words: object) -> tuple[int, list[str], str]:
        capsys.readouterr()
        code = run(["predict", str(folder), *(str(word) for word in words)])
        out, err = capsys.readouterr()
        assert out == "" or out.endswith("\n")
        return code, out.split("\n")[:-1], err

    return call


def one_line(text: str) -> str:
    """Return a text as ``predict`` prints it."""
    ends = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"
    return "".join(" " if sign in ends else sign for sign in text.replace("\r\n", "\n"))


# --- lines ---

LINES = {
    "plain": (b"one\ntwo six\n", ["one", "two six"]),
    "no line feed at the end": (b"one\ntwo six", ["one", "two six"]),
    "blank lines": (b"one\n\ntwo six\n   \n\n", ["one", "", "two six", "", ""]),
    "a byte order mark": (b"\xef\xbb\xbfone\ntwo\n", ["one", "two"]),
    "a byte order mark inside": ("one\n\ufefftwo\n".encode(), ["one", "\ufefftwo"]),
    "carriage returns": (b"one\r\ntwo\rsix\r\n", ["one", "two\rsix"]),
    "other ends": ("one\u2028two\x85six\x0cten\n".encode(), ["one\u2028two\x85six\x0cten"]),
    "a header of one word": (b"audio\none\n", ["audio", "one"]),
    "file names inside": (b"one\ntalk.m4a\n", ["one", "talk.m4a"]),
    "nothing": (b"", []),
    "only a byte order mark": (b"\xef\xbb\xbf", []),
}


@pytest.mark.parametrize("where", ["file", "standard input"])
@pytest.mark.parametrize("name", LINES)
def test_there_is_one_line_out_for_each_line_in(
    name: str,
    where: str,
    model: TaskAwareModel,
    predict,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    content, texts = LINES[name]
    path = tmp_path / "lines.txt"
    path.write_bytes(content)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    code, lines, err = predict(path if where == "file" else "-")
    assert code == 0
    expected = model.run("mt_en_de", [taskaware.Text(text) for text in texts])
    assert lines == [one_line(text) for text in expected]
    assert ("is empty" in err) == (not texts)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    _, lines, _ = predict(path if where == "file" else "-", "--output", "jsonl")
    assert [json.loads(line)["source"].strip() for line in lines] == [t.strip() for t in texts]


def test_line_breaks_in_an_output_are_spaces_in_text_and_exact_in_json(
    predict, monkeypatch: pytest.MonkeyPatch
):
    text = "one\ntwo\r\nsix\rten\u2028one\x85two\x0csix"

    def decode(self, task, sources, **_):
        return [[taskaware.Hypothesis(token_ids=(), text=text, log_prob=-1.0, score=-1.0)]]

    monkeypatch.setattr(taskaware.TaskAwareModel, "decode", decode)
    _, lines, _ = predict("--text", "one")
    assert lines == ["one two six ten one two six"]
    _, lines, _ = predict("--text", "one", "--output", "jsonl")
    assert [json.loads(line)["text"] for line in lines] == [text]
    assert len(lines[0].splitlines()) == 1


# --- labels ---


def labels(lines: list[str], columns: int) -> list[tuple[str, ...]]:
    return [tuple(line.split("\t")[:columns]) for line in lines]


def test_labels_come_first_and_only_those_that_are_needed(recording: Path, predict, tmp_path: Path):
    path = tmp_path / "lines.txt"
    path.write_text("one\ntwo\n")
    text, sound = str(path), str(recording)
    _, lines, _ = predict(path)
    assert (len(lines), "\t" in "".join(lines)) == (2, False)
    _, lines, _ = predict(recording)
    assert labels(lines, 1) == [("asr_en",), ("st_en_de",)]
    _, lines, _ = predict(path, recording)
    assert labels(lines, 2) == [(text, "mt_en_de")] * 2 + [(sound, "asr_en"), (sound, "st_en_de")]
    _, lines, _ = predict(path, recording, "--task", "asr_en", "--task", "mt_en_de")
    assert labels(lines, 1) == [(text,), (text,), (sound,)]
    assert all(line.count("\t") == 1 for line in lines)
    _, lines, _ = predict(path, "--num-best", 2)
    assert labels(lines, 1) == [("1",), ("2",)] * 2
    _, lines, _ = predict(path, "--text", "six", "--num-best", 2)
    assert labels(lines, 2) == [("--text", "1"), ("--text", "2"), *[(text, "1"), (text, "2")] * 2]
    _, lines, _ = predict("--text", "six", "--text", "ten")
    assert (len(lines), "\t" in "".join(lines)) == (2, False)


def test_a_name_with_control_characters_stays_in_its_column_and_does_not_command_the_terminal(
    recording: Path, predict, tmp_path: Path
):
    odd = tmp_path / "a\n\t\x1b[2J.flac"
    odd.write_bytes(recording.read_bytes())
    (tmp_path / "b\x1b[2J.flac").write_bytes(b"no recording")
    code, lines, said = predict(odd, tmp_path / "b\x1b[2J.flac", "--task", "asr_en")
    assert code == 1
    assert labels(lines, 1) == [(f"{tmp_path}/a\\x0a\\x09\\x1b[2J.flac",)]
    assert "b\\x1b[2J.flac: must be a recording" in said
    assert "\x1b" not in said


def test_json_lines_say_where_an_output_belongs(recording: Path, predict, tmp_path: Path):
    path = tmp_path / "lines.txt"
    path.write_text("one\n\n")
    code, lines, _ = predict(path, recording, "--text", "two", "--output", "jsonl")
    found = [json.loads(line) for line in lines]
    assert code == 0
    assert [(one["file"], one["line"], one["source"], one["task"]) for one in found] == [
        (None, 1, "two", "mt_en_de"),
        (str(path), 1, "one", "mt_en_de"),
        (str(path), 2, "", "mt_en_de"),
        (str(recording), None, str(recording), "asr_en"),
        (str(recording), None, str(recording), "st_en_de"),
    ]
    assert all(one["warnings"] == [] for one in found)
    assert found[2]["text"] == ""


# --- manifests ---


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A folder of recordings: two words, and two channels that cancel."""
    (tmp_path / "audio").mkdir()
    wave = speak("one two six ten")
    soundfile.write(tmp_path / "audio" / "a.wav", wave, RATE_HZ, subtype="FLOAT")
    both = np.stack([wave, -wave], axis=1)
    soundfile.write(tmp_path / "audio" / "b.wav", both, RATE_HZ, subtype="FLOAT")
    return tmp_path


def test_a_manifest_gives_segments_channels_and_tasks(corpus: Path, model: TaskAwareModel, predict):
    path = corpus / "list.tsv"
    path.write_text(
        "task\taudio\tstart_seconds\tduration_seconds\tchannel\tsource_text\ttarget_text\n"
        "asr_en\taudio/a.wav\t0.4\t0.8\t\t\tnot looked at\n"
        "mt_en_de\t\t\t\t\ttalk.m4a\t\n"
        "st_en_de\taudio/b.wav\t\t0.8\t2\t\t\n"
    )
    audio = corpus / "audio"
    half = taskaware.Speech(path=audio / "a.wav", start_seconds=0.4, duration_seconds=0.8)
    other = taskaware.Speech(path=audio / "b.wav", duration_seconds=0.8, channel=2)
    expected = {
        "asr_en": model.run("asr_en", half),
        "mt_en_de": model.run("mt_en_de", taskaware.Text("talk.m4a")),
        "st_en_de": model.run("st_en_de", other),
    }
    code, lines, err = predict(path)
    assert (code, err) == (0, "list.tsv 3/3  done\n")
    assert lines == [f"{task}\t{one_line(text)}" for task, text in expected.items()]
    code, lines, _ = predict(path, "--task", "st_en_de")
    assert (code, lines) == (0, [one_line(expected["st_en_de"])])
    _, lines, _ = predict(path, "--output", "jsonl")
    first = json.loads(lines[0])
    assert (first["line"], first["start_seconds"], first["duration_seconds"]) == (2, 0.4, 0.8)


@pytest.mark.parametrize("name", ["list.jsonl", "list.txt"])
def test_json_lines_are_a_manifest_whatever_the_file_is_called(
    name: str, corpus: Path, model: TaskAwareModel, predict
):
    path = corpus / name
    path.write_text('{"id": "x", "audio": "audio/a.wav"}\n')
    code, lines, _ = predict(path, "--output", "jsonl")
    assert code == 0
    assert [(json.loads(line)["id"], json.loads(line)["task"]) for line in lines] == [
        ("x", "asr_en"),
        ("x", "st_en_de"),
    ]


def test_a_line_of_a_manifest_that_cannot_be_used_keeps_its_place(corpus: Path, predict):
    path = corpus / "list.tsv"
    rows = ["audio", "audio/a.wav", "audio/none.wav", "audio/a.wav\ttoo much", "audio/a.wav"]
    path.write_text("\n".join(rows))
    code, lines, err = predict(path, "--task", "asr_en")
    assert code == 1
    assert [bool(line) for line in lines][1:3] == [False, False]
    assert len(lines) == 4
    assert f"{path}, line 3: " in err
    assert "none.wav: the file does not exist" in err
    assert "must have 1 cells, as the header, but has 2" in err
    _, lines, _ = predict(path, "--task", "asr_en", "--output", "jsonl")
    assert ["error" in json.loads(line) for line in lines] == [False, True, True, False]


def test_a_manifest_of_other_tasks_is_refused_as_a_whole(corpus: Path, predict):
    path = corpus / "list.tsv"
    path.write_text("task\taudio\nasr_en\taudio/a.wav\n")
    code, lines, err = predict(path, "--task", "st_en_de")
    assert (code, lines) == (1, [])
    assert "must have lines of st_en_de, but all are of asr_en; without the column `task`" in err
    path.write_text("task\taudio\nasr_fr\taudio/a.wav\n")
    code, lines, err = predict(path)
    assert (code, lines) == (1, [])
    assert "its lines are of asr_fr, but the model has no such task" in err


def test_a_manifest_on_standard_input_and_a_list_of_paths_are_refused_unless_they_are_texts(
    corpus: Path, predict, monkeypatch: pytest.MonkeyPatch
):
    content = b"audio\ttask\na.wav\tasr_en\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    code, _, err = predict("-")
    assert (code, "a manifest must be given as a file" in err) == (2, True)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    code, lines, _ = predict("-", "--input", "text")
    assert (code, len(lines)) == (0, 2)
    path = corpus / "list.txt"
    path.write_text(f"{corpus}/audio/a.wav\n")
    code, _, err = predict(path)
    assert (code, "its first line names a recording" in err) == (2, True)
    assert predict(path, "--input", "text")[0] == 0


def test_a_text_can_be_read_as_a_manifest_and_the_reverse(corpus: Path, predict):
    path = corpus / "list.tsv"
    path.write_text("source_text\none\n")
    assert len(predict(path)[1]) == 1
    assert len(predict(path, "--input", "text")[1]) == 2
    path = corpus / "list.txt"
    path.write_text("source_text\none\n")
    assert len(predict(path)[1]) == 2
    assert len(predict(path, "--input", "manifest")[1]) == 1


# --- recordings ---


def test_a_recording_is_known_by_its_content_too(recording: Path, predict, tmp_path: Path):
    path = tmp_path / "talk"
    path.write_bytes(recording.read_bytes())
    _, lines, _ = predict(path)
    assert lines == predict(recording)[1]


def test_silence_and_channels_that_cancel_give_a_warning_and_a_channel_can_be_chosen(
    corpus: Path, predict
):
    silent, cancels = corpus / "silent.wav", corpus / "audio" / "b.wav"
    soundfile.write(silent, np.zeros(RATE_HZ, np.float32), RATE_HZ)
    for path, reason in ((silent, "is silent"), (cancels, "must not cancel each other")):
        code, lines, err = predict(path, "--task", "asr_en", "--output", "jsonl")
        assert code == 0
        assert err.startswith(f"taskaware: warning: {path}: ")
        assert reason in err
        [warning] = json.loads(lines[0])["warnings"]
        assert reason in warning
    code, lines, err = predict(cancels, "--channel", 2, "--output", "jsonl")
    assert (code, err) == (0, "")
    assert json.loads(lines[0])["warnings"] == []
    for channel, wanted in (("left", 2), ("0", 2), ("3", 1)):
        code, _, err = predict(cancels, "--channel", channel)
        assert (code, "channel must be" in err) == (wanted, True)


def test_a_text_much_longer_than_in_training_gives_one_warning(predict, tmp_path: Path):
    path = tmp_path / "long.txt"
    path.write_text(" ".join(["one"] * 40), encoding="utf-8")
    code, _, err = predict(path, "--task", "mt_en_de")
    assert code == 0
    assert err.count("pieces long, but the longest that the model was trained on is") == 1


# --- what is refused ---


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--text", "one", "--num-best", 0), "--num-best must be a whole number of at least 1"),
        (("--text", "one", "--num-best", "2.5"), "--num-best must be a whole number, but is '2.5'"),
        (("--text", "one", "--beam", 0), "--beam must be a whole number of at least 1, but is 0"),
        (("--text", "one", "--beam", -2), "but is -2"),
        (("--text", "one", "--beam", "1_0"), "--beam must be a whole number, but is '1_0'"),
        (("--text", "one", "--beam", 2, "--num-best", 3), "must be at most `beam` (2), but is 3"),
        (("--text", "\udcff"), r"text 1 has bytes that are not: \xff"),
        (("-", "-"), "standard input (`-`) must be given once"),
    ],
)
def test_an_impossible_request_is_refused_before_anything_is_written(
    words: tuple, message: str, predict
):
    code, lines, err = predict(*words)
    assert (code, lines) == (2, [])
    assert message in err


def test_files_that_are_no_text_are_refused_by_name(predict, tmp_path: Path):
    for name, content, message in (
        ("a.txt", "one\ncaf\xe9\n".encode("latin-1"), "a.txt, line 2: must be UTF-8, but has"),
        ("b.txt", "one".encode("utf-16"), "b.txt must be UTF-8, but is UTF-16"),
        ("c.bin", bytes(range(256)), "c.bin must be a recording"),
        ("e.pdf", b"%PDF-1.4\n\xe2\xe3\xcf\xd3", "UTF-8 text, but is a PDF document"),
        ("d.m4a", b"\0\0\0\x20ftypM4A ", "d.m4a: must be a recording (wav, flac, mp3, ogg"),
    ):
        (tmp_path / name).write_bytes(content)
        code, lines, err = predict(tmp_path / name)
        assert (code in (1, 2), lines) == (True, [])
        assert message in err
    code, _, err = predict(tmp_path)
    assert (code, "must be a file, but is a folder" in err) == (2, True)


def test_all_files_that_cannot_be_used_are_told_at_once(recording: Path, predict, tmp_path: Path):
    (tmp_path / "a.pdf").write_bytes(b"%PDF-1.4\n\xe2\xe3\xcf\xd3")
    code, lines, err = predict(tmp_path / "a.pdf", recording, tmp_path, tmp_path / "gone.txt")
    assert (code, lines) == (2, [])
    told = err.splitlines()
    assert told[0] == "taskaware: 3 of 4 files cannot be used, so none is:"
    for line, name in zip(told[1:], ("a.pdf", "", "gone.txt"), strict=True):
        assert line.startswith(f"{tmp_path / name} must be a ")


def test_names_that_are_not_utf_8_are_read_and_shown(recording: Path, predict, tmp_path: Path):
    path = tmp_path / os.fsdecode(b"caf\xe9.wav")
    path.write_bytes(recording.read_bytes())
    code, lines, _ = predict(path, recording, "--task", "asr_en")
    assert (code, labels(lines, 1)[0]) == (0, (rf"{tmp_path}/caf\xe9.wav",))
    _, lines, _ = predict(path, "--task", "asr_en", "--output", "jsonl")
    assert json.loads(lines[0])["source"] == rf"{tmp_path}/caf\xe9.wav"


def test_a_file_whose_name_begins_with_a_dash_is_given_with_its_folder(
    recording: Path, predict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "-a.wav").write_bytes(recording.read_bytes())
    monkeypatch.chdir(tmp_path)
    assert predict("./-a.wav", "--task", "asr_en")[:2] == predict(recording, "--task", "asr_en")[:2]
    code, _, err = predict("-a.wav")
    assert (code, "A file of that name is given as ./-a.wav" in err) == (2, True)


def test_standard_input_that_is_closed_is_refused(predict, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "stdin", None)
    code, _, err = predict("-")
    assert (code, "standard input, which must be open" in err) == (2, True)


def test_standard_input_may_be_a_recording(
    recording: Path, predict, monkeypatch: pytest.MonkeyPatch
):
    stream = io.TextIOWrapper(io.BytesIO(recording.read_bytes()))
    monkeypatch.setattr(sys, "stdin", stream)
    assert predict("-")[1] == predict(recording)[1]


def test_outputs_are_utf_8_whatever_the_terminal_says(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    def decode(self, task, sources, **_):
        return [[taskaware.Hypothesis(token_ids=(), text="你好", log_prob=0.0, score=0.0)]]

    monkeypatch.setattr(taskaware.TaskAwareModel, "decode", decode)
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    assert run(["predict", str(folder), "--text", "one"]) == 0
    assert written.getvalue() == "你好\n".encode()


def test_a_progress_bar_leaves_the_outputs_where_they_belong(
    predict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "lines.txt"
    path.write_text("one\ntwo\n")
    monkeypatch.setenv("FORCE_COLOR", "1")  # the bar takes standard error for a terminal
    _, lines, err = predict(path)
    assert len(lines) == 2
    assert "lines.txt" in err
