"""The command line from manifests to outputs, and what it says when something is wrong."""

from __future__ import annotations

import io
import json
import shutil
import sys
from typing import TYPE_CHECKING

import numpy
import pytest

from taskaware.cli.main import run
from taskaware.run import experiment as experiment_file
from tiny_corpus import NUM_EXAMPLES, RATE_HZ, TASK_NAMES, speak, tiny_experiment, write_corpus
from tiny_models import random_model

if TYPE_CHECKING:
    from pathlib import Path


class Place:
    """A corpus, its prepared folder, an experiment file and its finished run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifests = write_corpus(folder)
        self.data = folder / "data"
        self.experiment = folder / "tiny.toml"
        self.run = folder / "runs" / "tiny"
        self.recording = folder / "test0.wav"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Everything made by the command line itself."""
    place = Place(tmp_path_factory.mktemp("place"))
    options = [
        word for split, path in place.manifests.items() for word in (f"--{split}", str(path))
    ]
    assert run(["prepare", *options, "--to", str(place.data), "--vocabulary-size", "300"]) == 0
    experiment = tiny_experiment(place.data, updates=4)
    place.experiment.write_text(experiment_file.dump(experiment))
    assert run(["train", str(place.experiment), "--to", str(place.run)]) == 0
    return place


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]):
    """Run a command and return its exit code, standard output and standard error, unwrapped."""

    def call(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = run([str(word) for word in words])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return code, captured.out, captured.err

    return call


def lines_of(output: str) -> list[str]:
    """Return the lines; a model this small also writes other signs that Python takes for ends."""
    return output.removesuffix("\n").split("\n")


# --- from manifests to outputs ---


def test_prepare_counts_what_it_read_and_leaves_a_complete_folder_alone(
    place: Place, command, tmp_path: Path
):
    words = ["prepare", "--train", place.manifests["train"], "--vocabulary-size", "300"]
    code, out, _ = command(*words, "--to", tmp_path)
    assert code == 0
    assert {"asr_en", "st_en_de", "mt_en_de", "16", "48"} <= set(out.split())
    code, out, _ = command(*words, "--to", tmp_path)
    assert (code, "complete already" in out) == (0, True)


def test_train_says_what_to_do_next_with_commands_that_work(place: Place, command):
    code, out, err = command("train", place.experiment, "--to", place.run)
    assert code == 0
    assert "update 4" in err
    [line] = [line for line in out.splitlines() if "taskaware evaluate" in line]
    assert command(*line.split("taskaware ")[1].split())[0] == 0
    [line] = [line for line in out.splitlines() if "taskaware predict" in line]
    words = line.split("taskaware ")[1].replace("FILE ...", str(place.recording)).split()
    assert command(*words)[0] == 0


def test_evaluate_prints_a_table_and_writes_outputs_and_scores(
    place: Place, command, tmp_path: Path
):
    code, out, _ = command("evaluate", place.run, "--data", place.data, "--to", tmp_path)
    assert code == 0
    rows = [line.split() for line in out.splitlines() if line.startswith(TASK_NAMES)]
    shown = [(row[0], row[1]) for row in rows]
    assert {("asr_en", "wer"), ("st_en_de", "bleu"), ("mt_en_de", "bleu")} <= set(shown)
    assert "confusion" in out
    assert "version:" in out, "sacreBLEU's signature"
    results = json.loads((tmp_path / "results.json").read_text())
    assert [result["task"] for result in results["results"]] == list(TASK_NAMES)
    for result in results["results"]:
        assert {"metric", "score", "confusion_rate", "examples", "seconds"} <= set(result)
        assert result["examples"] == NUM_EXAMPLES["test"]
    lines = (tmp_path / "outputs.jsonl").read_text().splitlines()
    assert len(lines) == 3 * NUM_EXAMPLES["test"]
    assert set(json.loads(lines[0])) >= {"task", "id", "reference", "text", "score", "confused"}


def test_evaluate_takes_tasks_a_limit_and_another_model(place: Place, command, tmp_path: Path):
    words = (
        "--task",
        "mt_en_de",
        "--limit",
        2,
        "--which",
        "average",
        "--split",
        "dev",
        "--beam",
        1,
    )
    code, _, _ = command("evaluate", place.run, "--data", place.data, "--to", tmp_path, *words)
    assert code == 0
    results = json.loads((tmp_path / "results.json").read_text())
    assert (results["which"], results["beam"], results["split"]) == ("average", 1, "dev")
    assert [(one["task"], one["examples"]) for one in results["results"]] == [("mt_en_de", 2)]


def test_results_of_a_part_lie_beside_those_of_the_whole(place: Place, command, tmp_path: Path):
    words = ("evaluate", place.run, "--data", place.data)
    assert command(*words)[0] == 0
    folder = place.run / "evaluation" / "model"
    whole = (folder / "test" / "results.json").read_bytes()
    assert command(*words, "--limit", 2, "--task", "mt_en_de")[0] == 0
    assert (folder / "test__limit-2__mt_en_de" / "results.json").is_file()
    assert (folder / "test" / "results.json").read_bytes() == whole
    assert command(*words, "--to", tmp_path, "--limit", 2)[0] == 0
    code, out, err = command(*words, "--to", tmp_path)
    assert (code, "--limit 2 there, none here" in err, "seconds" in out) == (2, True, False)


def test_scores_are_printed_though_they_cannot_be_written(
    place: Place, command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from taskaware.errors import DataError
    from taskaware.evaluation import results_folder

    def fail(*_: object) -> None:
        raise DataError("no space left")

    monkeypatch.setattr(results_folder, "write", fail)
    code, out, _ = command("evaluate", place.run, "--data", place.data, "--to", tmp_path / "x")
    assert (code, "mt_en_de" in out) == (1, True)


def test_a_task_of_the_same_name_that_is_another_is_refused(place: Place, command, tmp_path: Path):
    lines = place.manifests["test"].read_text().splitlines()
    spoken = [line.replace("st_en_de", "mt_en_de") for line in lines if "st_en_de" in line]
    manifest = place.folder / "swapped.tsv"
    manifest.write_text("\n".join([lines[0], *spoken]) + "\n")
    vocabulary = place.run / "model" / "vocabulary.model"
    code, _, _ = command(
        "prepare", "--test", manifest, "--vocabulary", vocabulary, "--to", tmp_path
    )
    assert code == 0
    code, _, err = command("evaluate", place.run, "--data", tmp_path)
    assert code == 2
    assert "mt, from text in 'en' to text in 'de'" in err
    assert "st, from speech in 'en' to text in 'de'" in err


def test_predict_gives_a_recording_to_every_speech_task_and_a_line_to_the_text_tasks(
    place: Place, command, tmp_path: Path
):
    code, out, _ = command("predict", place.run, place.recording)
    assert code == 0
    assert [line.split("\t")[0] for line in lines_of(out)] == ["asr_en", "st_en_de"]
    (tmp_path / "lines.txt").write_text("one\n\ntwo six\n", encoding="utf-8")
    code, out, _ = command("predict", place.run, tmp_path / "lines.txt", "--text", "ten")
    assert code == 0
    lines = [line.split("\t") for line in lines_of(out)]
    names = ["--text", *[str(tmp_path / "lines.txt")] * 3]
    assert [line[0] for line in lines] == names
    assert lines[2][1] == "", "an empty line for an empty line"


@pytest.mark.parametrize("where", ["file", "-"])
def test_only_an_end_of_line_ends_a_line(
    where: str, place: Place, command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    content = "one\u2028two\r\nsix\x85ten\x0cone\n".encode()
    path = tmp_path / "lines.txt"
    path.write_bytes(content)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    source = path if where == "file" else "-"
    _, out, _ = command("predict", place.run, source, "--output", "jsonl")
    sources = [json.loads(line)["source"] for line in lines_of(out)]
    assert sources == ["one\u2028two", "six\x85ten\x0cone"]


def test_predict_writes_json_lines_with_scores_best_first(place: Place, command):
    words = ("--text", "one two", "--output", "jsonl", "--num-best", 3, "--device", "cpu")
    code, out, _ = command("predict", place.run, place.recording, "--task", "mt_en_de",
                           "--task", "asr_en", *words)  # fmt: skip
    assert code == 0
    lines = [json.loads(line) for line in lines_of(out)]
    assert {line["task"] for line in lines} == {"mt_en_de", "asr_en"}
    assert {line["source"] for line in lines} == {"one two", str(place.recording)}
    for source in ("one two", str(place.recording)):
        of_source = [line for line in lines if line["source"] == source]
        assert [line["rank"] for line in of_source] == [1, 2, 3]
        scores = [line["score"] for line in of_source]
        assert scores == sorted(scores, reverse=True)
        assert all(line["log_prob"] <= 0 for line in of_source)


@pytest.mark.parametrize("kind", ["text", "recording"])
def test_predict_reads_standard_input(
    kind: str, place: Place, command, monkeypatch: pytest.MonkeyPatch
):
    content = b"one\ntwo\n" if kind == "text" else place.recording.read_bytes()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    code, out, _ = command("predict", place.run, "-")
    assert (code, len(lines_of(out))) == (0, 2)


def test_predict_and_the_same_from_python_agree(place: Place, command):
    import taskaware

    model = taskaware.load(place.run / "model")
    # A model this small also writes line breaks, which are spaces on the command line.
    _, out, _ = command("predict", place.run, "--text", "two ten")
    assert out.split() == model.translate("two ten", to="de").split()
    _, out, _ = command("predict", place.run, place.recording, "--task", "asr_en")
    assert out.split() == model.transcribe(place.recording).split()


def test_predict_uses_the_model_that_is_asked_for(place: Place, command):
    for which in ("model", "average", "taskwise/asr_en"):
        assert command("predict", place.run, "--text", "two", "--which", which)[0] == 0
    assert command("predict", place.run / "average", "--text", "two")[0] == 0
    code, _, err = command("predict", place.run, "--text", "two", "--which", "taskwise/nothing")
    assert code == 1
    assert "must have a model 'taskwise/nothing', but has model, best, average" in err


def test_inspect_shows_parameters_tasks_vocabulary_and_origin(place: Place, command):
    code, out, _ = command("inspect", place.run)
    assert code == 0
    for words in ("parameters", "total", "asr_en", "en -> de", "pieces", "fingerprint", "d_model"):
        assert words in out
    assert "conditioning.cue" in out
    assert max(map(len, out.splitlines())) <= 120
    code, out, _ = command("inspect", place.run, "--json")
    content = json.loads(out)
    *parts, total = content["parameters"].values()
    assert sum(parts) == total
    assert [task["name"] for task in content["tasks"]] == list(TASK_NAMES)
    assert content["provenance"]["update"] in (2, 4)
    assert content["task_embedding_size"] == 2 * content["settings"]["d_model"]


# --- what is wrong, where, and what to do ---


def test_an_unknown_field_is_refused_with_the_nearest_name_the_file_and_the_line(
    place: Place, command, tmp_path: Path
):
    path = tmp_path / "wrong.toml"
    path.write_text('name = "x"\n\n[data]\nfolder = "data"\n\n[model]\nnum_head = 4\n')
    code, _, err = command("train", path)
    assert code == 2
    assert str(path) in err.replace("\n", "")
    assert "num_heads" in err
    assert "7" in err.split(str(path))[1][:12], "the line"
    code, _, err = command("train", place.experiment, "training.update=4", "--to", tmp_path / "run")
    assert code == 2
    assert "did you mean 'updates'" in err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.d_model=abc", "model.d_model"),
        ("model.d_model=17", "num_heads"),
        ("training.updates=0", "at least 1"),
        ("batching.mix=sometimes", "sampled"),
    ],
)
def test_wrong_types_and_impossible_sizes_are_refused(
    override: str, message: str, place: Place, command, tmp_path: Path
):
    code, _, err = command("train", place.experiment, override, "--to", tmp_path / "run")
    assert (code, message in err) == (2, True)
    assert not (tmp_path / "run").exists()


def test_a_missing_experiment_file_is_refused_by_name(command, tmp_path: Path):
    code, _, err = command("train", tmp_path / "none.toml")
    assert code == 2
    assert "none.toml" in err


def test_a_missing_data_folder_is_refused_with_the_command_that_makes_it(
    place: Place, command, tmp_path: Path
):
    override = f"data.folder={tmp_path / 'nowhere'}"
    code, _, err = command("train", place.experiment, override, "--to", tmp_path / "run")
    assert code == 1
    assert str(tmp_path / "nowhere") in err
    assert "taskaware prepare" in err
    code, _, err = command("evaluate", place.run, "--data", tmp_path / "nowhere")
    assert (code, "does not exist" in err) == (1, True)


def test_an_unknown_task_is_refused_with_the_nearest_name(place: Place, command, tmp_path: Path):
    for words in (
        ("predict", place.run, "--text", "one", "--task", "mt_en_fr"),
        ("evaluate", place.run, "--data", place.data, "--task", "mt_en_fr"),
        ("train", place.experiment, 'data.tasks=["mt_en_fr"]', "--to", tmp_path / "run"),
    ):
        code, _, err = command(*words)
        assert code == 2
        assert "did you mean 'mt_en_de'" in err


def test_an_unknown_split_is_refused_with_those_that_are_there(place: Place, command):
    code, _, err = command("evaluate", place.run, "--data", place.data, "--split", "tests")
    assert (code, "train, dev, test" in err) == (1, True)


def test_a_missing_recording_is_named_and_the_others_are_still_done(
    place: Place, command, tmp_path: Path
):
    missing, broken = tmp_path / "missing.wav", tmp_path / "broken.flac"
    broken.write_text("no recording")
    code, out, err = command("predict", place.run, missing, broken, place.recording)
    assert code == 1
    assert str(missing) in err
    assert str(broken) in err
    assert len(lines_of(out)) == 2


@pytest.mark.parametrize("name", ["missing.txt", "missing.npy", "missing"])
def test_another_missing_file_is_named(name: str, place: Place, command, tmp_path: Path):
    code, out, err = command("predict", place.run, tmp_path / name)
    assert code in (1, 2)
    assert out == ""
    assert name in err


def test_a_source_that_no_task_takes_is_refused(place: Place, command):
    code, _, err = command("predict", place.run, place.recording, "--task", "mt_en_de")
    assert (code, "no task asked for takes speech" in err) == (1, True)


def test_a_source_that_no_task_of_the_model_takes_is_refused_with_its_tasks(
    tmp_path: Path, command
):
    random_model().save(tmp_path / "model")
    numpy.save(tmp_path / "poses.npy", numpy.ones((9, 80), dtype=numpy.float32))
    code, _, err = command("predict", tmp_path / "model", tmp_path / "poses.npy")
    assert code == 1
    assert "the model has no task that takes features: its tasks are " in err
    assert "mt_en_de (text)" in err


def test_a_folder_of_another_experiment_is_refused_unless_started_over(
    place: Place, command, tmp_path: Path
):
    folder = shutil.copytree(place.run, tmp_path / "run")
    words = ("train", place.experiment, "model.d_ff=48", "training.updates=1", "--to", folder)
    code, _, err = command(*words)
    assert code == 2
    assert "d_ff = 48" in err
    assert "--restart" in err
    assert command(*words, "--restart")[0] == 0


def test_a_folder_that_is_no_model_is_refused(place: Place, command, tmp_path: Path):
    for words in (
        ("predict", tmp_path, "--text", "one"),
        ("evaluate", tmp_path, "--data", place.data),
        ("inspect", tmp_path),
        ("inspect", tmp_path / "nowhere"),
    ):
        code, _, err = command(*words)
        assert code == 1
        assert "must be a model folder" in err
        assert str(words[1]) in err


def test_data_of_other_features_is_refused(place: Place, command, tmp_path: Path):
    from dataclasses import replace

    from taskaware.data.prepare import PrepareSettings, prepare
    from taskaware.data.sound.settings import FeatureSettings

    features = replace(FeatureSettings(), num_mel_bins=40)
    settings = PrepareSettings(vocabulary_size=300, features=features, num_workers=1)
    prepare({"train": [place.manifests["train"]]}, tmp_path / "data", settings)
    override = f"data.folder={tmp_path / 'data'}"
    code, _, err = command("train", place.experiment, override, "--to", tmp_path / "run")
    assert (code, "`model.num_features` must be 40" in err) == (2, True)
    code, _, err = command("evaluate", place.run, "--data", tmp_path / "data", "--split", "train")
    assert (code, "must have the model's features" in err) == (1, True)


def test_a_manifest_with_a_wrong_column_is_refused_with_file_and_name(command, tmp_path: Path):
    path = tmp_path / "train.tsv"
    path.write_text("task\taudio\ttarget_txt\nasr\ta.wav\tone\n")
    code, _, err = command("prepare", "--train", path, "--to", tmp_path / "data")
    assert code == 2
    assert str(path) in err
    assert "target_text" in err


def test_bad_lines_beyond_the_share_are_refused_and_below_it_listed(command, tmp_path: Path):
    import soundfile

    soundfile.write(tmp_path / "good.wav", speak("one two"), RATE_HZ)
    lines = ["task\taudio\ttarget_text", "asr\tgood.wav\tone two", "asr\tmissing.wav\ttwo"]
    path = tmp_path / "train.tsv"
    path.write_text("\n".join(lines) + "\n")
    words = ("prepare", "--train", path, "--to", tmp_path / "data", "--vocabulary-size", 300)
    code, _, err = command(*words)
    assert code == 1
    assert "train.tsv, line 3" in err
    assert command(*words, "--max-bad-share", 0.5)[0] == 0
    assert "missing.wav" in (tmp_path / "data" / "report.tsv").read_text()


@pytest.mark.parametrize(
    "words",
    [
        ("nonsense",),
        ("train", "--nonsense"),
        ("predict",),
        ("predict", "folder"),
        ("predict", "folder", "--nonsense"),
        ("evaluate", "folder"),
        ("predict", "folder", "--text", "one", "--output", "yaml"),
    ],
)
def test_misuse_ends_with_2_and_a_word_about_it(words: tuple[str, ...], command):
    code, out, err = command(*words)
    assert code == 2
    assert out + err
