"""``taskaware import``: a pretrained Whisper becomes a model that all commands know at once.

Whispers of some thousand random weights, made by Hugging Face's library, that hear two seconds.
"""

from __future__ import annotations

import json
import os
import re
import warnings
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
import torch

import taskaware
from taskaware.cli.main import run
from taskaware.data.batches.batching import collate, text_cue
from taskaware.data.sound.whisper_features import whisper_log_mel
from taskaware.data.vocabulary.prompts import whisper_prompt
from taskaware.decoding.settings import with_beam
from taskaware.errors import UnknownTaskError
from taskaware.pretrained.importing import import_model
from taskaware.run import experiment as experiment_file
from taskaware.types import Task
from tiny_corpus import write_corpus
from tiny_whisper import (
    DE,
    EN,
    END,
    NO_TIMES,
    SECONDS,
    START,
    TRANSCRIBE,
    TRANSLATE,
    save_whisper,
    tokenizer,
)

if TYPE_CHECKING:
    from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing is ever downloaded
transformers = pytest.importorskip("transformers", reason="the other implementation is not there")
tokenizers = pytest.importorskip("tokenizers", reason="the extra `pretrained` is not there")


@pytest.fixture(scope="module")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in Hugging Face's layout."""
    return save_whisper(tmp_path_factory.mktemp("whisper"))


@pytest.fixture(scope="module")
def imported(whisper: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "whisper"
    arguments = ["import", str(whisper), "--to", str(folder), "--tasks", "asr_en,st_de_en"]
    assert run(arguments) == 0
    return folder


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "tone.wav"
    time = np.arange(9_600) / 16_000
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * 440 * time * (1 + time)), 16_000)
    return path


def changed(whisper: Path, folder: Path) -> Path:
    """A copy to break."""
    folder.mkdir()
    for path in whisper.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def their_text(whisper: Path, recording: Path, prompt: list[int], beam: int) -> str:
    theirs = transformers.WhisperForConditionalGeneration.from_pretrained(whisper).eval()
    samples = torch.from_numpy(soundfile.read(recording, dtype="float32")[0])
    found = transformers.GenerationMixin.generate(
        theirs,
        whisper_log_mel(samples, padded_seconds=SECONDS).T[None],
        decoder_input_ids=torch.tensor([prompt]),
        num_beams=beam,
        do_sample=False,
        max_new_tokens=16,
        suppress_tokens=list(range(START, NO_TIMES + 1)),
        begin_suppress_tokens=[END, tokenizer().encode(" ").ids[0]],
        no_repeat_ngram_size=10,
    )
    return tokenizer().decode(found[0, len(prompt) :].tolist()).removeprefix(" ")


@pytest.mark.filterwarnings("ignore::taskaware.errors.SourceWarning")
@pytest.mark.parametrize("beam", [1, 4])
@pytest.mark.parametrize(
    ("task", "prompt"),
    [
        ("asr_en", [START, EN, TRANSCRIBE, NO_TIMES]),
        ("st_de_en", [START, DE, TRANSLATE, NO_TIMES]),
    ],
)
def test_an_imported_model_writes_what_theirs_generates(
    whisper: Path, imported: Path, recording: Path, task: str, prompt: list[int], beam: int
):
    model = taskaware.load(imported, device="cpu")
    decoding = with_beam(model.decoding, beam=beam)
    ours = model.run(task, recording, decoding=decoding)
    assert ours == their_text(whisper, recording, prompt, beam)
    assert len(ours) > 4


def test_predict_and_inspect_know_it_at_once(
    imported: Path, recording: Path, capsys: pytest.CaptureFixture[str]
):
    assert run(["predict", str(imported), str(recording), "--task", "asr_en"]) == 0
    assert len(capsys.readouterr().out.strip()) > 4
    assert run(["inspect", str(imported)]) == 0
    assert "whisper" in capsys.readouterr().out


def test_a_loaded_and_saved_again_model_is_the_same(imported: Path, tmp_path: Path):
    taskaware.load(imported, device="cpu").save(tmp_path / "again")
    for path in imported.iterdir():
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()


def test_recordings_are_filled_up_to_what_the_model_was_trained_on_unless_told_otherwise(
    whisper: Path, imported: Path, recording: Path, tmp_path: Path
):
    model = taskaware.load(imported, device="cpu")
    assert len(model.read_source(recording, "speech").array) == 200
    cut = tmp_path / "cut"
    assert run(["import", str(whisper), "--to", str(cut), "--hears-seconds", "0"]) == 0
    assert len(taskaware.load(cut).read_source(recording, "speech").array) == 60


@pytest.mark.parametrize(("hears", "no_repeat"), [(None, 10), (2.0, 10), (1.5, 4), (0.0, 4)])
def test_a_whisper_that_hears_less_than_in_its_training_may_not_repeat_itself(
    whisper: Path, hears: float | None, no_repeat: int
):
    model = import_model(whisper, hears_seconds=hears)
    assert model.decoding.no_repeat == no_repeat


@pytest.mark.filterwarnings("ignore::taskaware.errors.SourceWarning")
@pytest.mark.parametrize("hears", ["filled up", "as long as they are"])
def test_a_recording_longer_than_the_model_hears_is_cut_and_the_others_are_done(
    whisper: Path,
    imported: Path,
    recording: Path,
    tmp_path: Path,
    hears: str,
    capsys: pytest.CaptureFixture[str],
):
    if hears == "as long as they are":
        imported = tmp_path / "model"
        assert run(["import", str(whisper), "--to", str(imported), "--hears-seconds", "0"]) == 0
    long = tmp_path / "long.wav"
    soundfile.write(long, 0.1 * np.random.default_rng(0).standard_normal(36_000), 16_000)
    files = [str(long), str(recording)]
    command = ["predict", str(imported), *files, "--task", "asr_en", "--output", "jsonl"]
    assert run([*command, "--segmentation", "windows", "--detector", "level"]) == 0
    heard = [json.loads(line) for line in capsys.readouterr().out.splitlines()[-2:]]
    assert [one["file"] for one in heard] == files
    # Two seconds are heard at a time; all of the 2.25 are, and each instant once.
    parts = [(part["start_seconds"], part["end_seconds"]) for part in heard[0]["segments"]]
    assert len(parts) == 2 == heard[0]["guarded"]["num_stretches"]
    assert parts[0][0] == 0
    assert parts[0][1] == parts[1][0]
    assert parts[1][1] > 2
    assert "segments" not in heard[1]  # it is decoded whole


LANGUAGES = {
    "asr_de": ("de", "de", [START, DE, TRANSCRIBE, NO_TIMES]),
    "st_en_de": ("en", "de", [START, DE, TRANSCRIBE, NO_TIMES]),
    "mt_de_en": ("de", "en", [START, DE, TRANSLATE, NO_TIMES]),
}


@pytest.mark.parametrize("name", LANGUAGES)
def test_the_prompt_is_the_tasks_own_where_it_is_the_cue(imported: Path, name: str):
    vocabulary = taskaware.load(imported, device="cpu").vocabulary
    source, target, prompt = LANGUAGES[name]
    task = Task(
        name=name,
        kind=name[:3].strip("_"),
        source_modality="speech",
        source_language=source,
        target_language=target,
    )
    assert list(text_cue(vocabulary, task, "target_tag").prompt) == prompt
    # Where something else tells the task, all tasks of a source language have one prompt.
    language = {"de": DE, "en": EN}[source]
    shared = [START, language, TRANSCRIBE, NO_TIMES]
    assert list(text_cue(vocabulary, task, "implicit").prompt) == shared


def test_a_batch_has_the_prompt_before_and_the_models_own_end_behind(imported: Path):
    model = taskaware.load(imported, device="cpu")
    task = model.task("asr_en")
    frames = np.zeros((100, 80), dtype=np.float32)
    batch = collate(task, [frames], [np.array([5, 6])], cue=model.cue(task))
    prompt = [START, EN, TRANSCRIBE, NO_TIMES]
    assert batch.target_input.tolist() == [[*prompt, 5, 6]]
    assert batch.target_output.tolist() == [[*prompt[1:], 5, 6, END]]


def test_an_unknown_language_is_named(imported: Path):
    vocabulary = taskaware.load(imported, device="cpu").vocabulary
    task = Task(name="asr_xx", kind="asr", source_modality="speech", source_language="xx")
    with pytest.raises(UnknownTaskError, match=r"one that Whisper knows.*'xx'"):
        whisper_prompt(vocabulary, task, names_task=True)


def refusal(capsys: pytest.CaptureFixture[str], arguments: list[str], to: Path) -> tuple[int, str]:
    before = sorted(to.parent.iterdir())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        code = run(["import", *arguments, "--to", str(to)])
    assert sorted(to.parent.iterdir()) == before  # nothing is half written
    return code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        (["--tasks", "translate"], "asr_LANGUAGE"),
        (["--tasks", "mt_en_de"], "must be for speech"),
        (["--tasks", "asr_xx"], "that Whisper knows"),
        (["--hears-seconds", "31"], "from 0 to 2"),
        (["--hears-seconds", "-1"], "from 0 to 2"),
    ],
    ids=str,
)
def test_what_cannot_be_asked_is_misuse(
    whisper: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options, wanted: str
):
    code, message = refusal(capsys, [str(whisper), *options], tmp_path / "model")
    assert code == 2
    assert wanted in message


def test_a_folder_that_is_there_is_never_written_over(
    whisper: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    kept = tmp_path / "mine" / "notes.txt"
    kept.parent.mkdir()
    kept.write_text("kept")
    code, message = refusal(capsys, [str(whisper)], kept.parent)
    assert code == 2
    assert "must not be there yet" in message
    assert kept.read_text() == "kept"


def test_the_same_command_given_again_finds_its_model_and_writes_nothing(
    whisper: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    to = tmp_path / "model"
    command = ["import", str(whisper), "--to", str(to), "--tasks", "asr_en"]
    assert run(command) == 0
    before = {path: path.stat().st_mtime_ns for path in (to, *to.iterdir())}
    capsys.readouterr()
    assert run(command) == 0
    assert "there already and complete: nothing was written" in capsys.readouterr().out
    code, message = refusal(capsys, [str(whisper), "--tasks", "asr_de"], to)
    assert code == 2
    assert "unless the same command has made it" in message
    assert {path: path.stat().st_mtime_ns for path in (to, *to.iterdir())} == before
    (to / "vocabulary.model").unlink()
    code, message = refusal(capsys, [str(whisper), "--tasks", "asr_en"], to)
    assert code == 2


@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        ([], "has no config.json that names a `model_type`"),
        (["config.json"], "has no config.json that names a `model_type`"),
        (["model.json", "vocabulary.model"], "is a model of ours, which is used as it is"),
        (["experiment.toml", "log.jsonl"], "is a run of ours"),
        (["prepared.json"], "is prepared data"),
        (["export.json", "encoder-speech.onnx"], "is an export for other programs"),
        (
            ["adapter_config.json", "adapter_model.safetensors"],
            "is a set of adapters .* without its base: merge it there",
        ),
        (["config.json", "model.bin"], "is a model in CTranslate2's form"),
        (
            ["snapshots/a1/config.json", "refs/main"],
            "is a cache of several versions: give one, .*/a1",
        ),
    ],
    ids=str,
)
def test_what_is_given_in_the_place_of_a_pretrained_model_is_called_what_it_is(
    files: list[str], wanted: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    folder = tmp_path / "given"
    folder.mkdir()
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")
    code, message = refusal(capsys, [str(folder)], tmp_path / "model")
    assert code == 1
    assert re.search(f"given must be a folder in Hugging Face's layout, but {wanted}", message)


def test_a_file_in_the_place_of_a_pretrained_model_is_called_a_file(
    whisper: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    _, message = refusal(capsys, [str(whisper / "config.json")], tmp_path / "model")
    assert "is a file: give the folder" in message


def test_folders_that_do_not_fit_are_refused_by_name(
    whisper: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    def refused(folder: Path) -> str:
        code, message = refusal(capsys, [str(folder)], tmp_path / "model")
        assert code == 1
        return message

    assert "Hugging Face's layout, but does not exist" in refused(tmp_path / "nothing")
    without_tokenizer = changed(whisper, tmp_path / "a")
    (without_tokenizer / "tokenizer.json").unlink()
    assert "must hold tokenizer.json" in refused(without_tokenizer)
    of_another = changed(whisper, tmp_path / "b")
    text = (of_another / "tokenizer.json").read_text().replace("<|transcribe|>", "<|paint|>")
    (of_another / "tokenizer.json").write_text(text)
    assert "tokenizer of another model" in refused(of_another)
    pickled = changed(whisper, tmp_path / "c")
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    assert "a pickle can run any program" in refused(pickled)
    unknown = changed(whisper, tmp_path / "d")
    (unknown / "config.json").write_text(json.dumps({"model_type": "bert"}))
    assert "model_type must be one of" in refused(unknown)
    generation = changed(whisper, tmp_path / "e")
    (generation / "generation_config.json").write_text('{"suppress_tokens": [99999]}')
    assert "suppress_tokens must be ids of pieces" in refused(generation)


def test_data_prepared_with_its_vocabulary_and_features_evaluates_it(
    imported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    manifests = write_corpus(tmp_path)
    options = [word for split, path in manifests.items() for word in (f"--{split}", str(path))]
    data = tmp_path / "data"
    settings = ["features.kind=whisper", f"features.padded_seconds={SECONDS}"]
    vocabulary = ["--vocabulary", str(imported / "vocabulary.model")]
    assert run(["prepare", *options, *vocabulary, *settings, "--to", str(data)]) == 0
    capsys.readouterr()
    assert run(["evaluate", str(imported), "--data", str(data), "--split", "test"]) == 0
    assert "asr_en" in capsys.readouterr().out
    other = tmp_path / "kaldi"
    assert run(["prepare", *options, *vocabulary, "--to", str(other)]) == 0
    assert run(["evaluate", str(imported), "--data", str(other), "--split", "test"]) == 1
    assert "must have the model's features" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore::taskaware.errors.SourceWarning")
def test_training_goes_on_from_it(imported: Path, tmp_path: Path):
    manifests = write_corpus(tmp_path)
    options = [word for split, path in manifests.items() for word in (f"--{split}", str(path))]
    data, vocabulary = tmp_path / "data", str(imported / "vocabulary.model")
    settings = ["features.kind=whisper", f"features.padded_seconds={SECONDS}"]
    wanted = ["--vocabulary", vocabulary, *settings, "--to", str(data)]
    assert run(["prepare", *options, *wanted]) == 0
    whisper = taskaware.load(imported, device="cpu")
    path = tmp_path / "tiny.toml"
    path.write_text(
        f'name = "tiny"\n[data]\nfolder = "{data}"\ntasks = ["asr_en"]\n'
        f'[start]\nmodel = "{imported}"\n[training]\nupdates = 2\n'
    )
    assert run(["train", str(path), "--to", str(tmp_path / "run")]) == 0
    written = experiment_file.load(tmp_path / "run" / "experiment.toml")
    assert (written.model, written.decoding) == (whisper.settings, whisper.decoding)
    trained = taskaware.load(tmp_path / "run", device="cpu")
    assert trained.settings == whisper.settings
    assert [task.name for task in trained.tasks] == ["asr_en", "st_de_en"]
    assert not torch.equal(
        trained.transformer.token_embedding.weight, whisper.transformer.token_embedding.weight
    )


@pytest.mark.filterwarnings("ignore::taskaware.errors.SourceWarning")
def test_a_task_is_added_to_it_by_film_and_recognition_stays_bit_for_bit(
    imported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    manifests = write_corpus(tmp_path)
    data = tmp_path / "data"
    options = [word for split, path in manifests.items() for word in (f"--{split}", str(path))]
    options += ["--vocabulary", str(imported / "vocabulary.model"), "features.kind=whisper"]
    options += [f"features.padded_seconds={SECONDS}", "--to", str(data)]
    assert run(["prepare", *options]) == 0
    path = tmp_path / "more.toml"
    path.write_text(
        f'name = "more"\n[data]\nfolder = "{data}"\ntasks = ["st_en_de"]\n'
        f'[start]\nmodel = "{imported}"\ntrains = "task_embedding"\n[training]\nupdates = 2\n'
        '[model.conditioning]\ncue = "explicit"\nfilm_scope = "per_block"\n'
    )
    assert run(["train", str(path), "--to", str(tmp_path / "run")]) == 0
    said = capsys.readouterr().err
    assert "task st_en_de: new, added to the 2 tasks" in said
    assert "task st_de_en: told by its own pieces" in said
    assert "task asr_en: told" not in said
    before = taskaware.load(imported, device="cpu")
    after = taskaware.load(tmp_path / "run", device="cpu")
    assert [task.name for task in after.tasks] == ["asr_en", "st_de_en", "st_en_de"]
    source = [before.encode_source(tmp_path / "test0.wav", "speech")]
    outputs = [model.decode(model.task("asr_en"), source) for model in (before, after)]
    assert outputs[0] == outputs[1]
