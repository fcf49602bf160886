"""A trained model from Python: transcribe, translate, run, embed a task, and what is refused."""

from __future__ import annotations

import copy
import io
import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file, save_file

import taskaware
from taskaware.errors import (
    AudioError,
    CheckpointError,
    ExperimentError,
    SourceWarning,
    UnknownTaskError,
    UserError,
    WriteError,
)
from taskaware.inference import with_beam
from taskaware.inference.sources import Hearing
from taskaware.run.train import train_experiment
from tiny_corpus import RATE_HZ, Silent, prepare_corpus, speak, tiny_experiment
from tiny_models import random_model

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from taskaware import TaskAwareModel

PAIRS = [("one two", "eins zwei"), ("six", "sechs"), ("ten one", "zehn eins")]
SPOKEN = [(speak(words), words) for words in ("one two", "six", "ten one")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained model's folder whose task embeddings matter."""
    place = tmp_path_factory.mktemp("python")
    experiment = tiny_experiment(prepare_corpus(place), updates=12, validate_every=0, save_every=0)
    optimiser = replace(experiment.optimiser, learning_rate=3e-2)
    experiment = replace(experiment, optimiser=optimiser)
    assert train_experiment(experiment, place / "run", display=Silent())
    return place / "run" / "model"


@pytest.fixture(scope="module")
def model(folder: Path) -> TaskAwareModel:
    return taskaware.load(folder, device="cpu")


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recording") / "a.wav"
    soundfile.write(path, speak("one two"), RATE_HZ, subtype="FLOAT")
    return path


def scored(model: TaskAwareModel, task: str, source, **changes) -> tuple:
    [[best]] = model.run_many(task, [source], **changes)
    return best.token_ids, best.log_prob


# --- use ---


def test_a_recording_is_transcribed_by_path_text_path_and_waveform_alike(
    model: TaskAwareModel, recording: Path
):
    expected = model.run("asr_en", recording)
    assert model.transcribe(recording) == expected
    assert model.transcribe(str(recording)) == expected
    assert model.transcribe(speak("one two")) == expected
    assert model.transcribe(recording, language="en") == expected


def test_translate_takes_speech_to_the_speech_task_and_text_to_the_text_task(
    model: TaskAwareModel, recording: Path
):
    assert model.translate(recording, to="de") == model.run("st_en_de", recording)
    assert model.translate(str(recording), to="de") == model.run("st_en_de", recording)
    assert model.translate("one two", to="de") == model.run("mt_en_de", "one two")
    text = model.translate("one two", to="de", source_language="en")
    assert text == model.run("mt_en_de", "one two")


def test_many_sources_come_back_in_their_order(model: TaskAwareModel):
    sources = ["ten one six two", "one", "two six", "ten", "six six six"]
    alone = [scored(model, "mt_en_de", source)[1] for source in sources]
    decoding = replace(model.decoding, examples_per_batch=2)
    together = model.run_many("mt_en_de", sources, decoding=decoding)
    assert len(set(alone)) == len(alone)
    assert [found[0].log_prob for found in together] == pytest.approx(alone, abs=1e-4)


def test_several_hypotheses_come_best_first(model: TaskAwareModel):
    [found] = model.run_many("mt_en_de", ["one"], decoding=with_beam(model.decoding, 4, 3))
    assert len(found) == 3
    assert [h.score for h in found] == sorted((h.score for h in found), reverse=True)
    assert len({h.token_ids for h in found}) == 3


def test_a_waveform_of_another_rate_is_resampled_when_it_is_read(
    model: TaskAwareModel, tmp_path: Path
):
    path = tmp_path / "fast.wav"
    soundfile.write(path, np.repeat(speak("one two"), 3), 3 * RATE_HZ)
    hertz = model.encode_source(path, "speech")
    assert len(hertz) == len(model.encode_source(speak("one two"), "speech"))


# --- task embeddings ---


def test_the_stored_task_embeddings_are_the_mean_over_training_examples(model: TaskAwareModel):
    size = 2 * model.settings.d_model
    for task in model.tasks:
        assert model.task_embeddings[task.name].shape == (1, size)
    asr, st, mt = (model.task_embeddings[task.name] for task in model.tasks)
    assert not torch.equal(asr, st)
    assert not torch.equal(st, mt)


def test_a_task_embedding_is_made_of_a_few_examples_and_used(model: TaskAwareModel):
    embedding = model.embed_task(PAIRS)
    assert embedding.shape == model.task_embeddings["mt_en_de"].shape
    assert torch.equal(embedding, model.embed_task(PAIRS, task="mt_en_de"))
    assert scored(model, "mt_en_de", "one", task_embedding=embedding)[1] != pytest.approx(
        scored(model, "mt_en_de", "one", task_embedding=torch.zeros_like(embedding))[1]
    )
    stored = model.task_embeddings["mt_en_de"]
    assert scored(model, "mt_en_de", "one", task_embedding=stored) == scored(
        model, "mt_en_de", "one"
    )


def test_a_task_embedding_is_the_mean_of_those_of_its_examples(model: TaskAwareModel):
    mean = torch.stack([model.embed_task([pair]) for pair in PAIRS]).mean(dim=0)
    torch.testing.assert_close(model.embed_task(PAIRS), mean, atol=1e-5, rtol=1e-5)


def test_a_task_embedding_of_speech_tells_the_targets_language(model: TaskAwareModel):
    german = [(source, "eins zwei") for source, _ in SPOKEN]
    english = model.embed_task(SPOKEN, task="asr_en")
    assert not torch.allclose(english, model.embed_task(german, task="st_en_de"))
    assert torch.equal(english, model.embed_task(SPOKEN)), "the first task for speech"


def test_a_task_that_is_a_recording_by_mistake_is_refused_in_few_words(model: TaskAwareModel):
    wrongs: list[Any] = [bytes(100_000), np.zeros(100_000), "one two three " * 10_000]
    for wrong in wrongs:
        with pytest.raises(UnknownTaskError, match="must be one of asr_en") as caught:
            model.run(wrong, "one")
        assert len(str(caught.value)) < 400


def test_embedding_a_task_is_refused_without_examples_or_task_network(
    model: TaskAwareModel, tmp_path: Path
):
    with pytest.raises(UserError, match="at least one example"):
        model.embed_task([])
    one_source: Any = "one two"
    with pytest.raises(UserError, match=r"examples must be a list, .* \[\(source, text\)\]"):
        model.embed_task(one_source)
    with pytest.raises(UnknownTaskError, match="did you mean 'mt_en_de'"):
        model.embed_task(PAIRS, task="mt_en_fr")
    conditioning = replace(model.settings.conditioning, cue="none")
    vanilla = replace(model, settings=replace(model.settings, conditioning=conditioning))
    with pytest.raises(UserError, match="must have a task network"):
        vanilla.embed_task(PAIRS)


# --- what is refused ---


def test_a_language_that_no_task_knows_is_refused_with_the_tasks(
    model: TaskAwareModel, recording: Path
):
    for call in (
        lambda: model.transcribe(recording, language="fr"),
        lambda: model.translate(recording, to="fr"),
        lambda: model.translate("one", to="en"),
        lambda: model.translate("one", to="de", source_language="tr"),
    ):
        with pytest.raises(UnknownTaskError, match="asr_en, st_en_de, mt_en_de"):
            call()


def test_a_call_that_several_tasks_fit_is_refused_with_their_names(
    model: TaskAwareModel, recording: Path
):
    german = replace(model.tasks[0], name="asr_de", source_language="de", target_language="de")
    other = replace(model.tasks[2], name="mt_tr_de", source_language="tr")
    several = replace(model, tasks=(*model.tasks, german, other))
    with pytest.raises(UnknownTaskError, match="asr_en, asr_de fit"):
        several.transcribe(recording)
    with pytest.raises(UnknownTaskError, match="mt_en_de, mt_tr_de fit"):
        several.translate("one", to="de")
    assert isinstance(several.transcribe(recording, language="en"), str)
    assert isinstance(several.translate("one", to="de", source_language="en"), str)


def test_an_unknown_task_or_a_source_of_another_kind_is_refused(
    model: TaskAwareModel, recording: Path, tmp_path: Path
):
    with pytest.raises(UnknownTaskError, match="did you mean 'asr_en'"):
        model.run("asr_de", recording)
    with pytest.raises(UserError, match="must be a text, but is of type PosixPath: a path is a"):
        model.run("mt_en_de", recording)
    with pytest.raises(UserError, match=r"one dimension, \[samples\], but is \[40, 80\]"):
        model.run("asr_en", np.zeros((40, 80), np.float32))
    with pytest.raises(AudioError, match="missing"):
        model.transcribe(tmp_path / "missing.wav")
    with pytest.raises(AudioError, match="must last at least 25 ms"):
        model.transcribe(np.zeros(100, np.float32))


@pytest.mark.parametrize("content", [None, b"", b"no array"])
def test_a_feature_file_that_is_missing_or_none_is_refused_by_name(
    content: bytes | None, model: TaskAwareModel, tmp_path: Path
):
    if content is not None:
        (tmp_path / "poses.npy").write_bytes(content)
    with pytest.raises(taskaware.TaskawareError, match=r"poses\.npy"):
        model.encode_source(tmp_path / "poses.npy", "features")


@pytest.mark.parametrize(
    "name",
    [
        "model.json",
        "model.safetensors",
        "vocabulary.model",
        "task_embeddings.safetensors",
        "provenance.json",
    ],
)
def test_a_model_folder_with_a_missing_or_damaged_file_is_refused_by_name(
    name: str, folder: Path, tmp_path: Path
):
    damaged = shutil.copytree(folder, tmp_path / "copy")
    content = (damaged / name).read_bytes()
    (damaged / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(taskaware.TaskawareError, match=str(damaged)):
        taskaware.load(damaged)
    (damaged / name).unlink()
    with pytest.raises(taskaware.TaskawareError, match=name):
        taskaware.load(damaged)


def test_a_model_of_another_version_or_vocabulary_is_refused(folder: Path, tmp_path: Path):
    damaged = shutil.copytree(folder, tmp_path / "copy")
    content = json.loads((damaged / "model.json").read_text())
    (damaged / "model.json").write_text(json.dumps(content | {"format_version": 99}))
    with pytest.raises(CheckpointError, match="version 1, but has 99"):
        taskaware.load(damaged)
    (damaged / "model.json").write_text(json.dumps(content | {"vocabulary_sha256": "0"}))
    with pytest.raises(CheckpointError, match=r"vocabulary\.model must be the one"):
        taskaware.load(damaged)


@pytest.mark.parametrize("content", ["[]", '{"format_version": 1}'])
def test_a_description_that_is_json_but_no_models_is_refused(
    content: str, folder: Path, tmp_path: Path
):
    damaged = shutil.copytree(folder, tmp_path / "copy")
    (damaged / "model.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"model\.json"):
        taskaware.load(damaged)


def test_a_runs_folder_is_loaded_as_on_the_command_line(folder: Path):
    run = folder.parent
    assert taskaware.load(run).provenance == taskaware.load(folder).provenance
    assert taskaware.load(str(run), which="average").tasks == taskaware.load(folder).tasks
    with pytest.raises(CheckpointError, match="must have a model 'taskwise/asr', but has model, "):
        taskaware.load(run, which="taskwise/asr")


def test_a_run_that_has_not_finished_is_refused_with_where_its_models_will_be(tmp_path: Path):
    (tmp_path / "experiment.toml").touch()
    with pytest.raises(CheckpointError, match="must be a finished run, but has no model yet"):
        taskaware.load(tmp_path)
    with pytest.raises(CheckpointError, match="nowhere must be a model folder or a run's"):
        taskaware.load(tmp_path / "a" / "b" / "nowhere")


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("tpu", "must be auto, cpu, cuda or cuda:NUMBER, but is 'tpu'"),
        ("cuda:x", "cuda:NUMBER"),
        pytest.param(
            "cuda",
            "finds no CUDA device: take `auto` or `cpu`",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device"),
        ),
    ],
)
def test_a_device_that_is_not_there_is_refused(device: str, message: str, folder: Path):
    with pytest.raises(UserError, match=message):
        taskaware.load(folder, device=device)


def test_weights_of_another_shape_or_not_finite_are_refused_by_name(folder: Path, tmp_path: Path):
    damaged = shutil.copytree(folder, tmp_path / "copy")
    tensors = load_file(folder / "model.safetensors")
    name = next(name for name, value in tensors.items() if value.ndim == 2)
    for value, message in (
        (tensors[name][:-1].clone(), f"{name} must be"),
        (tensors[name] * float("nan"), f"must have finite numbers, but {name}"),
    ):
        save_file({**tensors, name: value}, damaged / "model.safetensors")
        with pytest.raises(CheckpointError, match=message):
            taskaware.load(damaged)
    shutil.copy(folder / "model.safetensors", damaged)


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((1, 3), torch.float32),
        ((1, 0), torch.float32),
        ((2, 0), torch.float32),
        (None, torch.float64),
        (None, torch.int8),
        (None, torch.complex64),
        (None, torch.float8_e4m3fn),
    ],
)
def test_task_embeddings_that_do_not_fit_the_model_are_refused_by_name(
    shape: tuple[int, ...] | None, dtype: torch.dtype, folder: Path, tmp_path: Path
):
    damaged = shutil.copytree(folder, tmp_path / "copy")
    embeddings = load_file(folder / "task_embeddings.safetensors")
    value = torch.zeros(shape or embeddings["mt_en_de"].shape).to(dtype)
    save_file({**embeddings, "mt_en_de": value}, damaged / "task_embeddings.safetensors")
    with pytest.raises(CheckpointError, match=r"must have a float32 vector .* but has 'mt_en_de'"):
        taskaware.load(damaged)


@pytest.mark.parametrize(
    "change",
    [
        {"tasks": 5},
        {"tasks": ["mt"]},
        {"model": {"d_model": "wide"}},
        {"features": None},
        {"decoding": {"beam": 0}},
        {"longest_sources": []},
        {"longest_sources": {"asr_en": -1}},
        {"features": {"num_mel_bins": 81}},
        {"features": {"padded_seconds": 1e-320}},
        {"decoding": {"suppressed": [1_000_000_000]}},
        {"decoding": {"length_penalty": 1000.0}},
    ],
)
def test_a_description_with_impossible_values_is_refused_by_name(
    change: dict, folder: Path, tmp_path: Path
):
    damaged = shutil.copytree(folder, tmp_path / "copy")
    content = json.loads((damaged / "model.json").read_text())
    (damaged / "model.json").write_text(json.dumps(content | change))
    with pytest.raises(CheckpointError, match=r"model\.json must describe a model"):
        taskaware.load(damaged)


# --- what a source may be ---


def test_bytes_open_files_and_segments_are_recordings(model: TaskAwareModel, recording: Path):
    expected = model.transcribe(recording)
    data = recording.read_bytes()
    assert model.transcribe(data) == expected
    assert model.transcribe(io.BytesIO(data)) == expected
    with recording.open("rb") as file:
        assert model.translate(file, to="de") == model.run("st_en_de", recording)
    whole = taskaware.Speech(path=recording, start_seconds=0, duration_seconds=0.8)
    assert model.transcribe(whole) == expected
    half = taskaware.Speech(path=recording, start_seconds=0.4)
    assert scored(model, "asr_en", half) == scored(model, "asr_en", recording_half(recording))
    with recording.open() as file, pytest.raises(UserError, match=r"opened as binary"):
        model.transcribe(file)  # type: ignore[arg-type]


def recording_half(path: Path) -> np.ndarray:
    samples, rate = soundfile.read(path, dtype="float32")
    return samples[int(0.4 * rate) :]


def test_waveforms_of_any_kind_are_heard_alike(model: TaskAwareModel):
    wave = speak("one two")
    expected = scored(model, "asr_en", wave)
    for same in (
        wave.astype(np.float64),
        torch.from_numpy(wave),
        torch.from_numpy(wave).requires_grad_(),
        wave[None],
        wave[:, None],
        np.repeat(wave, 2)[::2],
    ):
        assert scored(model, "asr_en", same) == expected
    sixteen_bits = (wave * 32768).astype(np.int16)
    assert scored(model, "asr_en", sixteen_bits) == scored(
        model, "asr_en", sixteen_bits.astype(np.float32) / 32768
    )
    assert scored(model, "asr_en", sixteen_bits.astype(np.int32) << 16) == scored(
        model, "asr_en", sixteen_bits
    )


def test_the_rate_of_a_waveform_can_be_said(model: TaskAwareModel):
    wave = speak("one two")
    hearing = Hearing.of(sample_rate_hz=2 * RATE_HZ)
    read = model.read_source(np.repeat(wave, 2), "speech", hearing=hearing)
    assert len(read.array) == len(model.read_source(wave, "speech").array)
    assert isinstance(model.transcribe(np.repeat(wave, 2), sample_rate_hz=2 * RATE_HZ), str)
    for rate in (0, -1, 16.0, "16000", 10, 10**9):
        with pytest.raises(UserError, match="`sample_rate_hz` must be a whole number"):
            model.transcribe(wave, sample_rate_hz=rate)  # type: ignore[arg-type]


def test_a_channel_can_be_chosen(model: TaskAwareModel, tmp_path: Path):
    wave = speak("one two")
    path = tmp_path / "two.wav"
    soundfile.write(path, np.stack([wave, speak("six six")], axis=1), RATE_HZ, subtype="FLOAT")
    expected = scored(model, "asr_en", wave)
    assert scored(model, "asr_en", path, channel=1) == expected
    assert scored(model, "asr_en", taskaware.Speech(path=path, channel=1), channel=2) == expected
    assert scored(model, "asr_en", path) != expected
    with pytest.raises(AudioError, match="the channel must be from 1 to 2, but is 3"):
        model.transcribe(path, channel=3)
    with pytest.raises(UserError, match="'mean' or a number from 1 up, but is 'left'"):
        model.transcribe(path, channel="left")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e39])
def test_a_waveform_that_is_not_finite_is_refused_with_its_place_in_a_list(
    value: float, model: TaskAwareModel
):
    broken = speak("one").astype(np.float64)
    broken[5] = value
    with pytest.raises(AudioError, match=r"^the waveform: every sample must be finite"):
        model.transcribe(broken)
    with pytest.raises(AudioError, match=r"^sources\[1\]: the waveform: every sample"):
        model.run_many("asr_en", [speak("one"), broken])


@pytest.mark.parametrize(
    "wave",
    [
        np.zeros((2, 16_000), np.float32),
        np.zeros((), np.float32),
        np.zeros(16_000, bool),
        np.zeros(16_000, np.int64),
        np.zeros(16_000, complex),
        np.full(16_000, None),
        torch.zeros(2, 2, 400),
    ],
)
def test_what_is_no_waveform_is_refused(wave, model: TaskAwareModel):
    with pytest.raises(UserError, match=r"(the|a) waveform must"):
        model.run("asr_en", wave)


def test_lists_are_answered_by_lists_in_their_order(model: TaskAwareModel, recording: Path):
    spoken = [speak("six"), recording, recording.read_bytes(), speak("one two six ten")]
    texts = model.transcribe(spoken)
    assert texts == [model.transcribe(one) for one in spoken]
    mixed = ["one two", recording, "ten", taskaware.Text("six"), speak("two")]
    assert model.translate(mixed, to="de") == [model.translate(one, to="de") for one in mixed]
    assert model.run("mt_en_de", ("one", "six")) == [
        model.run("mt_en_de", t) for t in ("one", "six")
    ]
    assert model.transcribe([]) == []
    assert model.translate([], to="de") == []


@pytest.mark.parametrize("sources", ["one two", b"one", np.zeros(16_000, np.float32), None, 5])
def test_run_many_of_one_source_is_refused(sources, model: TaskAwareModel):
    with pytest.raises(UserError, match="several sources must be a list, but are a"):
        model.run_many("mt_en_de", sources)


def test_a_list_within_a_list_and_a_thing_that_is_no_source_are_refused(model: TaskAwareModel):
    with pytest.raises(UserError, match=r"sources\[0\]: .* but is a list within a list"):
        model.run("mt_en_de", [["one"], ["two"]])
    for source in (None, 5, {"a": 1}):
        with pytest.raises(UserError, match=r"must be a recording .* but is of type"):
            model.run("asr_en", source)  # type: ignore[call-overload]
        with pytest.raises(UserError, match=r"must be a text, a recording .* but is of type"):
            model.translate(source, to="de")  # type: ignore[call-overload]


def test_a_string_for_translation_is_a_file_or_a_text_by_one_rule(
    model: TaskAwareModel, recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    unlisted = tmp_path / "talk one.dat"
    unlisted.write_bytes(recording.read_bytes())
    expected = model.run("st_en_de", recording)
    assert model.translate(str(unlisted), to="de") == expected
    assert model.translate("talk one.dat", to="de") == expected
    for missing in ("talk.m4a", "talk.wav", "recordings/talk one.wav"):
        with pytest.raises(AudioError, match="the file does not exist"):
            model.translate(missing, to="de")
    sentence = "see a.net.au"
    assert model.translate(sentence, to="de") == model.run("mt_en_de", sentence)
    named = taskaware.Text("talk.m4a")
    assert model.translate(named, to="de") == model.run("mt_en_de", named)
    for name in ("talk.m4a", str(unlisted)):
        with pytest.raises(UserError, match=r"names a file, but the task takes a text: .*Text\("):
            model.run("mt_en_de", name)


def test_a_string_is_what_the_tasks_take_where_all_take_the_same(
    model: TaskAwareModel, recording: Path
):
    heard = replace(model, tasks=model.tasks[:2])
    with pytest.raises(AudioError, match="Good morning: the file does not exist"):
        heard.translate("Good morning", to="de")
    written = replace(model, tasks=model.tasks[2:])
    with pytest.raises(UserError, match="names a file"):
        written.translate(str(recording), to="de")


def test_a_text_without_a_word_gives_an_empty_text(model: TaskAwareModel):
    blank = ["", " \n", "\u200b", "\ufeff"]  # a zero-width space and a byte order mark are no words
    assert model.translate(blank, to="de") == [""] * len(blank)
    [[empty]] = model.run_many("mt_en_de", [""])
    assert (empty.text, empty.log_prob, empty.finished) == ("", 0.0, True)


def test_a_text_that_is_not_utf_8_is_refused(model: TaskAwareModel):
    with pytest.raises(UserError, match="must be UTF-8"):
        model.translate("one \udcff", to="de")


def test_a_string_that_ends_like_features_is_no_text(model: TaskAwareModel):
    with pytest.raises(UnknownTaskError, match="translation of features"):
        model.translate("poses.npy", to="de")


@pytest.mark.parametrize("start", [-1.0, float("nan"), float("inf")])
def test_a_stretch_of_impossible_seconds_is_refused(
    start: float, model: TaskAwareModel, recording: Path
):
    with pytest.raises(AudioError, match="must start and last a number of seconds from 0 up"):
        model.transcribe(taskaware.Speech(path=recording, start_seconds=start))
    with pytest.raises(AudioError, match=f"lasts {-abs(start)} s"):
        model.transcribe(taskaware.Speech(path=recording, duration_seconds=-abs(start)))


def test_settings_and_task_embeddings_of_another_type_are_refused(model: TaskAwareModel):
    with pytest.raises(UserError, match="decoding: must be an object of settings, but is of type"):
        model.run("mt_en_de", "one", decoding={"beam": 2})  # type: ignore[call-overload]
    embedding = model.task_embeddings["mt_en_de"].numpy()
    with pytest.raises(UserError, match="must be a torch tensor, but is of type ndarray"):
        model.run("mt_en_de", "one", task_embedding=embedding)  # type: ignore[call-overload]


def test_settings_that_are_empty_or_those_of_something_else_are_never_passed_over(
    model: TaskAwareModel,
):
    audio = speak("one")
    for wrong in ({}, model.settings, 0):
        with pytest.raises(UserError, match="long recording: must be"):
            model.transcript(audio, "asr_en", settings=wrong)  # type: ignore[arg-type]
        with pytest.raises(UserError, match="decoding: must be"):
            model.run("mt_en_de", "one", decoding=wrong)  # type: ignore[call-overload]


def test_a_suppressed_piece_that_the_vocabulary_does_not_have_is_refused(model: TaskAwareModel):
    for change in ({"suppressed": (10**9,)}, {"suppressed_first": (model.vocabulary.size,)}):
        decoding = replace(model.decoding, **change)
        with pytest.raises(UserError, match=r"must be ids of its .* pieces, from 0 up, but have"):
            model.run("mt_en_de", "one", decoding=decoding)


def test_half_a_character_in_an_example_is_refused_by_its_place(model: TaskAwareModel):
    with pytest.raises(UserError, match=r"target text of examples\[1\] must be UTF-8"):
        model.embed_task([("one", "eins"), ("two", "\ud800")], task="mt_en_de")


@pytest.mark.parametrize("weights", ["int4", "float16", None, 8])
def test_weights_of_a_kind_that_is_not_there_are_refused_with_those_that_are(weights, folder: Path):
    with pytest.raises(UserError, match="must be one of float32, bfloat16, int8, but is"):
        taskaware.load(folder, device="cpu", weights=weights)


def test_a_device_of_torch_and_no_model_outside_of_the_folder(folder: Path):
    assert taskaware.load(folder, device=torch.device("cpu")).tasks
    for which in ("../model", str(folder)):
        with pytest.raises(CheckpointError, match="`which` must be one of the models of"):
            taskaware.load(folder.parent, which=which)


# --- what speaks against an output ---


@pytest.mark.parametrize(
    ("wave", "message"),
    [
        (np.zeros(RATE_HZ, np.float32), "is silent"),
        (speak("one")[:800], "must last at least 0.1 s, but lasts 0.050 s"),
    ],
)
def test_a_source_that_the_model_cannot_do_well_on_gives_a_warning(
    wave: np.ndarray, message: str, model: TaskAwareModel
):
    with pytest.warns(SourceWarning, match=f"the waveform: .*{message}") as caught:
        assert isinstance(model.transcribe(wave), str)
    assert {one.filename for one in caught} == {__file__}


def test_channels_that_cancel_give_a_warning_unless_one_is_chosen(
    model: TaskAwareModel, tmp_path: Path
):
    wave = speak("one two")
    soundfile.write(tmp_path / "a.wav", np.stack([wave, -wave], axis=1), RATE_HZ)
    with pytest.warns(SourceWarning, match="must not cancel each other"):
        model.transcribe(tmp_path / "a.wav")
    assert isinstance(model.transcribe(tmp_path / "a.wav", channel=2), str)


def test_a_text_much_longer_than_in_training_gives_a_warning(model: TaskAwareModel):
    with pytest.warns(SourceWarning, match=r"\d+ pieces long, but the longest that the model was"):
        model.translate(" ".join(["one"] * 40), to="de")


def test_where_the_longest_is_not_known_a_stated_bound_is_taken(model: TaskAwareModel):
    unknown = replace(model, longest_sources={})
    read = unknown.read_source(np.zeros(61 * RATE_HZ, np.float32), "speech")
    [_, doubt] = unknown.doubts(read, unknown.tasks[0])
    assert "61.0 s long, but the longest that models are usually trained on is 40.0 s" in doubt


# --- settings ---


@pytest.mark.parametrize(
    "change",
    [
        {"beam": 0},
        {"beam": -1},
        {"beam": 2.5},
        {"beam": True},
        {"beam": 10**9},
        {"num_best": 0},
        {"num_best": 5},
        {"num_best": "3"},
        {"examples_per_batch": 0},
        {"extra_pieces": -1},
        {"extra_pieces": 10**12},
        {"length_penalty": float("nan")},
        {"length_penalty": -1.0},
        {"length_penalty": float("inf")},
    ],
)
def test_impossible_numbers_are_refused_however_they_come(change: dict, model: TaskAwareModel):
    [name] = change
    decoding = replace(model.decoding, **change)
    for call in (
        lambda: model.run("mt_en_de", "one", decoding=decoding),
        lambda: model.run_many("mt_en_de", [], decoding=decoding),
    ):
        with pytest.raises(UserError, match=f"decoding: {name} must be"):
            call()


def test_a_beam_is_as_wide_as_it_must_be_and_never_silently_another(model: TaskAwareModel):
    assert with_beam(model.decoding).beam == model.decoding.beam
    wide = with_beam(model.decoding, num_best=9)
    assert (wide.beam, wide.num_best) == (9, 9)
    for beam, num_best in ((0, 1), (2, 3), (-1, 1), (1, 0)):
        with pytest.raises(UserError, match=r"decoding: (beam|num_best) must be at"):
            with_beam(model.decoding, beam=beam, num_best=num_best)


@pytest.mark.parametrize("shape", [(1, 3), (2, 32), (32,)])
def test_a_task_embedding_of_another_shape_is_refused(shape, model: TaskAwareModel):
    with pytest.raises(UserError, match="`task_embedding` must be"):
        model.run("mt_en_de", "one", task_embedding=torch.zeros(shape))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.to(torch.complex64), "must be a dense tensor of floats, but is complex64"),
        (lambda t: t.to("meta"), "must be a dense tensor of floats, but is float32, and is not de"),
        (lambda t: t.to_sparse(), "must be a dense tensor of floats"),
        (lambda t: t * float("nan"), "must be finite, but is not"),
        (lambda t: t.double() * 1e300, "must be finite, but is not"),
        (lambda t: t.repeat(1, 2), "must be .*, but is"),
        (lambda t: t.numpy(), "must be a torch tensor"),
    ],
)
def test_what_is_no_task_embedding_is_refused_given_or_stored_and_never_saved(
    change: Callable[[torch.Tensor], Any], message: str, model: TaskAwareModel, tmp_path: Path
):
    wrong = change(model.task_embeddings["mt_en_de"])
    with pytest.raises(UserError, match=f"`task_embedding` {message}"):
        model.run("mt_en_de", "one", task_embedding=wrong)
    changed = replace(model, task_embeddings={**model.task_embeddings, "mt_en_de": wrong})
    for call in (lambda: changed.run("mt_en_de", "one"), lambda: changed.save(tmp_path / "model")):
        with pytest.raises(UserError, match=f"`task_embeddings\\['mt_en_de'\\]` {message}"):
            call()
    assert not (tmp_path / "model").exists()


def test_a_task_embedding_of_another_precision_is_that_task_embedding(model: TaskAwareModel):
    embedding = model.task_embeddings["mt_en_de"]
    found = model.run("mt_en_de", "one", task_embedding=embedding.double().requires_grad_())
    assert found == model.run("mt_en_de", "one", task_embedding=embedding)


def test_a_task_embedding_for_a_model_that_takes_none_is_refused():
    model = random_model(conditioning={"cue": "target_tag"})
    with pytest.raises(UserError, match="must be left out for a model without a task network"):
        model.run("mt_en_de", "one", task_embedding=torch.ones(1, 32))


def test_a_model_whose_probabilities_are_not_finite_says_so(model: TaskAwareModel):
    broken = copy.deepcopy(model)
    with torch.no_grad():
        broken.transformer.token_embedding.weight.fill_(float("nan"))
    with pytest.raises(CheckpointError, match="must give finite probabilities"):
        broken.translate("one", to="de")


def test_a_saved_model_is_the_same_model(model: TaskAwareModel, tmp_path: Path):
    model.save(tmp_path / "again")
    again = taskaware.load(str(tmp_path / "again"))
    assert (again.settings, again.tasks, again.decoding) == (
        model.settings,
        model.tasks,
        model.decoding,
    )
    for task, source in zip(model.tasks, [*(pair[0] for pair in SPOKEN[:2]), "one"], strict=True):
        assert scored(again, task.name, source) == scored(model, task.name, source)


def test_a_model_is_never_saved_over_files_of_somebodys(model: TaskAwareModel, tmp_path: Path):
    (tmp_path / "notes" / "model.json").mkdir(parents=True)
    (tmp_path / "notes" / "model.json" / "mine").write_text("mine")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "provenance.json").write_text('{"mine": 1}')
    for name in ("notes", "data"):
        with pytest.raises(WriteError, match=r"json must be a model's file to be replaced"):
            model.save(tmp_path / name)
    assert (tmp_path / "notes" / "model.json" / "mine").read_text() == "mine"
    assert (tmp_path / "data" / "provenance.json").read_text() == '{"mine": 1}'


def test_a_model_that_could_not_be_loaded_is_not_saved(model: TaskAwareModel, tmp_path: Path):
    conditioning = replace(model.settings.conditioning, cue="implicit", implicit_reads="encoded")
    impossible = replace(model, settings=replace(model.settings, conditioning=conditioning))
    with pytest.raises(ExperimentError, match=r"model: conditioning must have `film_on` 'decoder'"):
        impossible.save(tmp_path / "model")
    assert not (tmp_path / "model").exists()
