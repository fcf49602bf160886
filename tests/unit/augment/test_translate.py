"""Synthetic targets and sources: which outputs become which examples, and which do not."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from scripted_models import (
    ScriptedModel,
    asr,
    install,
    mt,
    numbered,
    read_lines,
    st,
    write_lines,
)

from taskaware.augment import translate as module
from taskaware.augment.blocks import READ, WRITTEN
from taskaware.augment.settings import TranslationModelSettings, TranslationSettings
from taskaware.augment.translate import DUPLICATE, EMPTY, TOO_LONG, UNFINISHED, translate
from taskaware.errors import CheckpointError, UnknownTaskError, UserError
from taskaware.types import Task

if TYPE_CHECKING:
    from pathlib import Path

SETTINGS = TranslationSettings(task="mt_en_de")


@pytest.fixture
def talks(tmp_path: Path) -> Path:
    return write_lines(
        tmp_path / "talks.jsonl",
        asr("a", "a rather long sentence", start_seconds=1.5, duration_seconds=2.0),
        st("a-st", "ein Satz", utterance="u-a"),
        asr("b", "short", speaker="anna", origin="signal speed 1.1"),
        mt("c", "text", "Text"),
    )


@pytest.fixture
def two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[TranslationModelSettings]:
    models = {"A": ScriptedModel(numbered("A")), "B": ScriptedModel(numbered("B"))}
    return install(monkeypatch, tmp_path / "models", models)


def only(
    monkeypatch: pytest.MonkeyPatch, folder: Path, script, task: Task | None = None
) -> list[TranslationModelSettings]:
    model = ScriptedModel(script, *([task] if task else []))
    return install(monkeypatch, folder / "models", {"only": model})


def test_two_models_with_two_beams_give_four_marked_examples_of_each_transcript(
    talks: Path, two: list[TranslationModelSettings], tmp_path: Path
):
    written = translate([talks], tmp_path / "out.jsonl", two, SETTINGS)
    lines = read_lines(written.path)
    assert [(line["id"], line["target_text"], line["origin"]) for line in lines[:4]] == [
        ("a-de-t1b1", "A1 a rather long sentence", "translation by A, beam 1"),
        ("a-de-t1b2", "A2 a rather long sentence", "translation by A, beam 2"),
        ("a-de-t2b1", "B1 a rather long sentence", "translation by B, beam 1"),
        ("a-de-t2b2", "B2 a rather long sentence", "translation by B, beam 2"),
    ]
    assert len(lines) == 8
    assert {line["task"] for line in lines} == {"st_en_de"}
    assert {line["kind"] for line in lines} == {"st"}
    assert (written.total(READ), written.total(WRITTEN)) == (2, 8)


def test_a_new_example_keeps_recording_utterance_and_speaker_and_adds_to_the_origin(
    talks: Path, two: list[TranslationModelSettings], tmp_path: Path
):
    translate([talks], tmp_path / "out" / "out.jsonl", two, SETTINGS)
    first, *_, last = read_lines(tmp_path / "out" / "out.jsonl")
    assert first["audio"] == str(tmp_path / "a.flac")
    assert (first["start_seconds"], first["duration_seconds"]) == (1.5, 2.0)
    assert (first["utterance"], first["dataset"]) == ("u-a", "talks")
    assert (first["source_language"], first["target_language"]) == ("en", "de")
    assert last["speaker"] == "anna"
    assert last["origin"] == "signal speed 1.1; translation by B, beam 2"


def test_outputs_are_in_the_order_of_the_inputs_though_short_texts_go_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    model = ScriptedModel(numbered("A"))
    models = install(monkeypatch, tmp_path / "models", {"A": model})
    texts = ["x" * (1 + i * 7 % 10) for i in range(10)]
    talks = write_lines(tmp_path / "t.jsonl", *(asr(f"e{i}", t) for i, t in enumerate(texts)))
    monkeypatch.setattr(module, "_BLOCK_SIZE", 5)
    monkeypatch.setattr(module, "_BATCHES_PER_CALL", 1)
    settings = TranslationSettings(task="mt_en_de", top=1, examples_per_batch=2)
    translate([talks], tmp_path / "out.jsonl", models, settings)
    assert [line["target_text"] for line in read_lines(tmp_path / "out.jsonl")] == [
        f"A1 {text}" for text in texts
    ]
    assert [len(text) for call in model.calls for text in call] == [
        *sorted(map(len, texts[:5])),
        *sorted(map(len, texts[5:])),
    ]
    assert [len(call) for call in model.calls] == [2, 2, 1, 2, 2, 1]


def test_equal_empty_and_endless_outputs_and_long_texts_are_left_out_and_counted(
    talks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    outputs = {"short": ["one", "one", " ", "two and two and…"], "a rather long sentence": ["x"]}
    models = only(monkeypatch, tmp_path, lambda text: outputs[text])
    settings = TranslationSettings(task="mt_en_de", top=4, max_pieces=20)
    written = translate([talks], tmp_path / "out.jsonl", models, settings)
    assert [line["target_text"] for line in read_lines(written.path)] == ["one"]
    counts = {what: n for (dataset, what), n in written.counts.items() if dataset == "talks"}
    assert counts == {READ: 2, WRITTEN: 1, DUPLICATE: 1, EMPTY: 1, UNFINISHED: 1, TOO_LONG: 1}


def test_what_one_model_wrote_is_not_taken_from_the_next_one_again(
    talks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    models = {
        "A": ScriptedModel(lambda text: ["same", "a"]),
        "B": ScriptedModel(lambda text: ["b", "same"]),
    }
    chosen = install(monkeypatch, tmp_path / "models", models)
    written = translate([talks], tmp_path / "out.jsonl", chosen, SETTINGS)
    assert [line["id"] for line in read_lines(written.path)[:3]] == [
        "a-de-t1b1",
        "a-de-t1b2",
        "a-de-t2b1",
    ]
    assert written.total(DUPLICATE) == 2


def test_outputs_without_an_end_are_used_where_that_is_asked_for(
    talks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    models = only(monkeypatch, tmp_path, lambda text: ["on and on…"])
    settings = TranslationSettings(task="mt_en_de", keep_unfinished=True)
    assert translate([talks], tmp_path / "o.jsonl", models, settings).total(WRITTEN) == 2


def test_texts_get_new_targets_but_not_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    texts = write_lines(tmp_path / "t.jsonl", mt("c", "text", "Text"), mt("d", "book", "Buch"))
    models = only(monkeypatch, tmp_path, lambda text: ["Text", f"{text}!"])
    written = translate([texts], tmp_path / "out.jsonl", models, SETTINGS)
    lines = read_lines(written.path)
    assert [(line["source_text"], line["target_text"]) for line in lines] == [
        ("text", "text!"),
        ("book", "Text"),
        ("book", "book!"),
    ]
    assert {(line["task"], line["kind"]) for line in lines} == {("mt_en_de", "mt")}
    assert written.total(DUPLICATE) == 1


def test_back_translation_makes_a_new_source_for_the_true_target(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    texts = write_lines(tmp_path / "t.jsonl", mt("c", "text", "Text"))
    backwards = Task(
        name="mt_de_en",
        kind="mt",
        source_modality="text",
        source_language="de",
        target_language="en",
    )
    models = only(monkeypatch, tmp_path, lambda text: ["text", f"the {text}"], backwards)
    settings = TranslationSettings(task="mt_de_en", replace="source")
    translate([texts], tmp_path / "out.jsonl", models, settings)
    (line,) = read_lines(tmp_path / "out.jsonl")
    assert (line["source_text"], line["target_text"]) == ("the Text", "Text")
    assert (line["task"], line["id"]) == ("mt_en_de", "c-en-t1b2")


def test_a_wrong_task_is_refused_with_the_nearest_name(
    talks: Path, two: list[TranslationModelSettings], tmp_path: Path
):
    with pytest.raises(UnknownTaskError, match="did you mean 'mt_en_de'"):
        translate([talks], tmp_path / "o.jsonl", two, TranslationSettings(task="mt_en_fr"))
    settings = TranslationSettings(task="mt_en_de", of=("asr_e",))
    with pytest.raises(UnknownTaskError, match="did you mean 'asr_en'"):
        translate([talks], tmp_path / "o.jsonl", two, settings)
    assert not (tmp_path / "o.jsonl.unfinished").exists()


def test_texts_of_another_language_are_refused(
    talks: Path, two: list[TranslationModelSettings], tmp_path: Path
):
    settings = TranslationSettings(task="mt_en_de", of=("st_en_de",))
    with pytest.raises(UserError, match="must have a text in 'en'"):
        translate([talks], tmp_path / "o.jsonl", two, settings)
    german = write_lines(
        tmp_path / "g.jsonl", asr("a", "ja", source_language="de", target_language="de")
    )
    with pytest.raises(UserError, match=r"but have asr_en \(asr, de to de\)"):
        translate([german], tmp_path / "o.jsonl", two, SETTINGS)


def test_models_that_mean_another_language_pair_by_the_task_are_refused(
    talks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    french = Task(
        name="mt_en_de",
        kind="mt",
        source_modality="text",
        source_language="en",
        target_language="fr",
    )
    models = {"A": ScriptedModel(numbered("A")), "B": ScriptedModel(numbered("B"), french)}
    chosen = install(monkeypatch, tmp_path / "models", models)
    with pytest.raises(UserError, match="target language is 'de' in A and 'fr' in B"):
        translate([talks], tmp_path / "o.jsonl", chosen, SETTINGS)


def test_models_of_equal_names_and_folders_without_a_model_are_refused(
    talks: Path, two: list[TranslationModelSettings], tmp_path: Path
):
    with pytest.raises(UserError, match="different names"):
        translate([talks], tmp_path / "o.jsonl", [two[0], two[0]], SETTINGS)
    missing = TranslationModelSettings(folder=tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match=r"nowhere must be a model folder"):
        translate([talks], tmp_path / "o.jsonl", [missing], SETTINGS)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_file_of_a_model_that_is_a_pipe_is_refused(
    talks: Path, two: list[TranslationModelSettings], tmp_path: Path
):
    path = two[0].folder / "model.safetensors"
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(CheckpointError, match=r"model\.safetensors cannot be read \(it is no file"):
        translate([talks], tmp_path / "o.jsonl", two, SETTINGS)


def test_another_model_in_the_same_folder_is_noticed(
    talks: Path, two: list[TranslationModelSettings], tmp_path: Path
):
    translate([talks], tmp_path / "o.jsonl", two, SETTINGS)
    (two[1].folder / "model.safetensors").write_text("trained for longer")
    with pytest.raises(UserError, match=r"models\[2\]\.sha256 was"):
        translate([talks], tmp_path / "o.jsonl", two, SETTINGS)


def test_progress_ends_at_all_and_never_goes_back(
    talks: Path, two: list[TranslationModelSettings], tmp_path: Path
):
    seen: list[tuple[str, int, int]] = []
    translate([talks], tmp_path / "o.jsonl", two, SETTINGS, progress=lambda *s: seen.append(s))
    done = [done for _, done, total in seen if total == 2]
    assert done == sorted(done)
    assert done[-1] == 2
