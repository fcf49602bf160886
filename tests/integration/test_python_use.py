"""A trained model from Python: transcribe, translate, run, embed a task, and what is refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
import torch

import taskaware
from taskaware.errors import AudioError, CheckpointError, UnknownTaskError, UserError
from taskaware.inference import with_beam
from taskaware.runs import train_experiment
from tiny_corpus import RATE_HZ, Silent, prepare_corpus, speak, tiny_experiment

if TYPE_CHECKING:
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


def test_embedding_a_task_is_refused_without_examples_or_task_network(
    model: TaskAwareModel, tmp_path: Path
):
    with pytest.raises(UserError, match="at least one example"):
        model.embed_task([])
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
    with pytest.raises(UserError, match="must be a string, but is PosixPath"):
        model.run("mt_en_de", recording)
    with pytest.raises(UserError, match="path of a recording or a waveform"):
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
    copy = shutil.copytree(folder, tmp_path / "copy")
    content = (copy / name).read_bytes()
    (copy / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(taskaware.TaskawareError, match=str(copy)):
        taskaware.load(copy)
    (copy / name).unlink()
    with pytest.raises(taskaware.TaskawareError, match=name):
        taskaware.load(copy)


def test_a_model_of_another_version_or_vocabulary_is_refused(folder: Path, tmp_path: Path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    content = json.loads((copy / "model.json").read_text())
    (copy / "model.json").write_text(json.dumps(content | {"format_version": 99}))
    with pytest.raises(CheckpointError, match="version 1, but has 99"):
        taskaware.load(copy)
    (copy / "model.json").write_text(json.dumps(content | {"vocabulary_sha256": "0"}))
    with pytest.raises(CheckpointError, match=r"vocabulary\.model must be the one"):
        taskaware.load(copy)


@pytest.mark.parametrize("content", ["[]", '{"format_version": 1}'])
def test_a_description_that_is_json_but_no_models_is_refused(
    content: str, folder: Path, tmp_path: Path
):
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "model.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"model\.json"):
        taskaware.load(copy)


def test_a_runs_folder_is_refused_with_the_folders_to_take(folder: Path):
    with pytest.raises(CheckpointError, match="in its folders `model`"):
        taskaware.load(folder.parent)


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
