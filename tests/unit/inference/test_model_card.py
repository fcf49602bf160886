"""The card in a model's folder: what hubs read in it, and that nobody's words are written over."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

import taskaware
from conftest import TASKS, tiny_settings
from taskaware.data.sound.settings import FeatureSettings
from taskaware.data.vocabulary.vocabulary import Vocabulary
from taskaware.decoding.settings import DecodingSettings
from taskaware.errors import OutputError
from taskaware.evaluation.card_scores import add_scores
from taskaware.inference.model import TaskAwareModel
from taskaware.inference.model_card import CARD_NAME, is_somebodys, model_card
from taskaware.run.files import claim_files

if TYPE_CHECKING:
    from pathlib import Path

TRAINED = {
    "experiment": "mine",
    "run": "/home/somebody/runs/mine",
    "update": 2000,
    "seed": 1,
    "start": "/home/somebody/models/whisper",
    "trains": "all",
    "data": "/home/somebody/prepared",
    "data_fingerprint": "0123456789abcdef",
    "taskaware": "0.1.0",
    "torch": "2.13.0",
}
SCORE = {
    **{"metric": "wer", "value": 12.345, "signature": "unit:percent|x", "num_examples": 1200},
    "warning": "few words",
}
RESULTS = {
    "provenance": TRAINED,
    "data": "/home/somebody/prepared",
    "split": "test",
    "limit": None,
    "beam": DecodingSettings().beam,
    "results": [{"task": "asr_en", "scores": [SCORE]}],
}


@pytest.fixture(scope="module")
def model() -> TaskAwareModel:
    texts = ["one two six ten", "eins zwei sechs zehn", "good morning", "guten Morgen"]
    vocabulary = Vocabulary.train(texts, size=290)
    settings = tiny_settings(conditioning={"cue": "none"})
    return TaskAwareModel(
        transformer=taskaware.create_model(settings, vocabulary_size=vocabulary.size, tasks=TASKS),
        settings=settings,
        tasks=TASKS,
        vocabulary=vocabulary,
        feature_settings=FeatureSettings(num_mel_bins=settings.num_features),
        decoding=DecodingSettings(),
        provenance=TRAINED,
    )


@pytest.fixture
def folder(model: TaskAwareModel, tmp_path: Path) -> Path:
    model.save(tmp_path / "run" / "model")
    return tmp_path / "run" / "model"


def metadata(text: str) -> dict[str, Any]:
    yaml = pytest.importorskip("yaml", reason="needs PyYAML, which comes with transformers")
    _, front, _ = text.split("---\n", 2)
    return yaml.safe_load(front)


def evaluation(folder: Path, **changes: Any) -> Path:
    place = folder.parent / "evaluation" / "model"
    (place / "test").mkdir(parents=True, exist_ok=True)
    (place / "test" / "results.json").write_text(json.dumps(RESULTS | changes))
    return place


def test_a_hub_finds_languages_tags_and_kind_and_the_license_is_left_open(folder: Path):
    found = metadata((folder / CARD_NAME).read_text())
    assert found["language"] == ["en", "de"]
    assert found["library_name"] == "taskaware"
    assert found["pipeline_tag"] == "automatic-speech-recognition"
    assert {"taskaware", "translation", "speech-translation"} <= set(found["tags"])
    assert "license" not in found
    assert "# license: " in (folder / CARD_NAME).read_text()
    assert "model-index" not in found


def test_a_card_says_how_the_model_was_trained_and_no_place_on_somebodys_machine(folder: Path):
    text = (folder / CARD_NAME).read_text()
    for words in ("| started from | whisper |", "| updates | 2000 |", "prepared, 01234567"):
        assert words in text
    assert "None known" in text
    assert "somebody" not in text


def test_languages_that_hubs_do_not_know_and_words_of_markdown_do_no_harm(model: TaskAwareModel):
    asr, _, mt = TASKS
    odd = replace(asr, name="no|one", source_language="no", target_language="no")
    other = replace(mt, source_language="deu_Latn", target_language="my own")
    changed = replace(
        model, tasks=(odd, other), provenance={**TRAINED, "experiment": 'a "b": <i>\n---\n|'}
    )
    text = model_card(changed)
    assert metadata(text)["language"] == ["no", "deu"]
    assert "| no\\|one | asr | speech | no | no |" in text
    assert '\n# a "b": \\<i> --- \\|\n' in text


def test_scores_come_into_the_card_in_the_form_that_hubs_read(model: TaskAwareModel, folder: Path):
    add_scores(model, folder, evaluation(folder))
    text = (folder / CARD_NAME).read_text()
    assert "| asr_en | prepared | test | 1,200 | wer | 12.3 |" in text
    assert "- wer: `unit:percent|x`\n- asr_en, wer, test: few words\n" in text
    (entry,) = metadata(text)["model-index"]
    (result,) = entry["results"]
    assert result["task"] == {"type": "automatic-speech-recognition", "name": "asr_en"}
    assert result["metrics"] == [{"type": "wer", "value": 12.35}]
    assert result["dataset"]["split"] == "test"


@pytest.mark.parametrize(
    "changes",
    [
        {"limit": 10},
        {"beam": 1},
        {"provenance": {**TRAINED, "update": 1000}},
        {"results": [{"task": "asr_en"}]},
    ],
)
def test_scores_of_a_part_of_other_weights_or_of_another_form_stay_out(
    changes: dict, model: TaskAwareModel, folder: Path
):
    before = (folder / CARD_NAME).read_text()
    add_scores(model, folder, evaluation(folder, **changes))
    assert (folder / CARD_NAME).read_text() == before


@pytest.mark.parametrize("how", ["changed", "their own", "not text"])
def test_a_card_that_somebody_changed_is_never_written_over(
    how: str, model: TaskAwareModel, folder: Path
):
    card = folder / CARD_NAME
    assert not is_somebodys(card)
    own = card.read_bytes().replace(b"# license:", b"license: mit #")
    content = {"changed": own, "their own": b"# Mine\n", "not text": b"\xff\xfe"}[how]
    card.write_bytes(content)
    assert is_somebodys(card)
    model.save(folder)
    add_scores(model, folder, evaluation(folder))
    assert card.read_bytes() == content
    # As after a process that was killed between two renames.
    folder.rename(folder.with_name(".model.old"))
    model.save(folder)
    assert card.read_bytes() == content


def test_starting_over_deletes_a_card_but_refuses_one_that_somebody_changed(folder: Path):
    run = folder.parent
    (run / "experiment.toml").write_text("")
    claim_files(run, restart=False)
    card = (folder / CARD_NAME).read_text()
    (folder / CARD_NAME).write_text(f"Mine.\n{card}")
    with pytest.raises(OutputError, match=r"holds model/README\.md, which no run wrote"):
        claim_files(run, restart=True)
    assert (folder / "model.json").exists()
    (folder / CARD_NAME).write_text(card)
    claim_files(run, restart=True)
    assert not folder.exists()


def test_a_snapshot_in_the_cache_of_a_hub_loads_and_its_card_is_left(
    model: TaskAwareModel, folder: Path, tmp_path: Path
):
    blobs = tmp_path / "models--me--mine" / "blobs"
    snapshot = tmp_path / "models--me--mine" / "snapshots" / "1a2b3c"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for number, path in enumerate(sorted(folder.iterdir())):
        path.rename(blobs / f"{number:064x}")
        (snapshot / path.name).symlink_to(f"../../blobs/{number:064x}")
    loaded = taskaware.load(snapshot, device="cpu")
    assert loaded.run("mt_en_de", "one two") == model.run("mt_en_de", "one two")
    add_scores(loaded, snapshot, evaluation(folder))
    assert (snapshot / CARD_NAME).is_symlink()
    assert "None known" in (snapshot / CARD_NAME).read_text()
