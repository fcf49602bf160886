"""The recipe: the paper's multiples, one joint training set, and what is wrong with a file."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
from scripted_models import ScriptedModel, asr, install, mt, numbered, read_lines, st, write_lines

from taskaware import settings
from taskaware.augment.recipe import ORIGINS, run_recipe
from taskaware.augment.settings import RecipeSettings, load
from taskaware.errors import ExperimentError, OutputError

PAPER = Path(__file__).parents[3] / "experiments" / "augmentation" / "paper.toml"
NUM = {"iwslt_ted": 3, "europarl_st": 2, "ted_lium": 2, "must_c": 2}


def write_dataset(folder: Path, name: str) -> None:
    """Write recordings, transcripts and, but for TED-LIUM 3, translations."""
    records = []
    for i in range(NUM[name]):
        recording = f"{name}{i}"
        noise = np.random.default_rng(i).normal(size=4000).astype(np.float32) * 0.1
        soundfile.write(folder / f"{recording}.flac", noise, 8000)
        records.append(asr(recording, f"text {i}", dataset=name))
        if name != "ted_lium":
            records.append(
                st(f"{recording}-st", f"Text {i}", dataset=name, audio=f"{recording}.flac")
            )
    write_lines(folder / f"{name}.jsonl", *records)


@pytest.fixture
def paper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RecipeSettings:
    """The paper's own file, with its paths turned to small datasets and written-down models."""
    models = {name: ScriptedModel(numbered(name)) for name in ("mt_wmt", "mt_wmt_opensubtitles")}
    install(monkeypatch, tmp_path / "runs", models)
    for name in NUM:
        write_dataset(tmp_path, name)
    text = PAPER.read_text(encoding="utf-8")
    for name in NUM:
        text = text.replace(f"data/{name}/manifests/train.jsonl", str(tmp_path / f"{name}.jsonl"))
    text = text.replace('"runs/', f'"{tmp_path}/runs/')
    (tmp_path / "paper.toml").write_text(text, encoding="utf-8")
    return load(tmp_path / "paper.toml")


def test_the_papers_recipe_gives_the_papers_multiples(paper: RecipeSettings):
    result = run_recipe(paper, num_workers=1)
    rows = {(data, task): numbers for data, task, numbers, _ in result.counts.rows()}
    by_origin = {key: dict(zip(ORIGINS, numbers, strict=True)) for key, numbers in rows.items()}
    totals = {key: sum(numbers) for key, numbers in rows.items()}
    assert totals["iwslt_ted", "st_en_de"] == 5 * NUM["iwslt_ted"]
    assert totals["europarl_st", "st_en_de"] == 3 * NUM["europarl_st"]
    assert totals["ted_lium", "st_en_de"] == 2 * NUM["ted_lium"]
    assert totals["must_c", "st_en_de"] == 4 * NUM["must_c"]
    assert by_origin["iwslt_ted", "st_en_de"]["synthetic text and signal"] == 4 * NUM["iwslt_ted"]
    assert by_origin["must_c", "st_en_de"]["synthetic signal"] == 3 * NUM["must_c"]
    assert {key: n for key, n in totals.items() if key[1] == "asr_en"} == {
        (name, "asr_en"): number for name, number in NUM.items()
    }


def test_the_joint_manifest_holds_what_the_counts_say_and_every_id_once(paper: RecipeSettings):
    result = run_recipe(paper, num_workers=1)
    lines = read_lines(result.train)
    assert len({line["id"] for line in lines}) == len(lines)
    counted = Counter((line["dataset"], line["task"]) for line in lines)
    table = (paper.to / "counts.tsv").read_text().splitlines()
    header = table[0].split("\t")
    assert header == ["dataset", "task", *ORIGINS, "total", "multiple"]
    cells = [dict(zip(header, row.split("\t"), strict=True)) for row in table[1:]]
    assert {(row["dataset"], row["task"]): int(row["total"]) for row in cells} == counted
    multiples = {row["dataset"]: row["multiple"] for row in cells if row["task"] == "st_en_de"}
    assert multiples == {"iwslt_ted": "5", "europarl_st": "3", "ted_lium": "", "must_c": "4"}
    from_texts = [line for line in lines if line["dataset"] == "iwslt_ted" and "origin" in line]
    assert all(
        line["origin"].startswith("translation by wmt") and "; signal " in line["origin"]
        for line in from_texts
    )
    assert all(Path(line["audio"]).is_file() for line in lines)
    left_out = json.loads((paper.to / "counts.json").read_text())["left_out"]
    assert not any(item["number"] for item in left_out)


def test_a_recipe_that_was_stopped_goes_on_and_gives_the_same_bytes(
    paper: RecipeSettings, monkeypatch: pytest.MonkeyPatch
):
    expected = run_recipe(paper, num_workers=1).train.read_bytes()
    manifests = list(paper.to.rglob("*.jsonl"))
    for path in manifests:
        path.unlink()

    def stop(stage: str, done: int, total: int) -> None:
        if stage.startswith("signals for europarl_st"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_recipe(paper, num_workers=1, progress=stop)
    assert not (paper.to / "train.jsonl").exists()
    result = run_recipe(paper, num_workers=1)
    assert result.train.read_bytes() == expected
    was_complete = {step for step, written in result.steps.items() if written.was_complete}
    assert ("iwslt_ted", "text_signals") in was_complete
    assert ("must_c", "signals") not in was_complete


def test_texts_without_signals_of_their_own_are_trained_on_with_the_recording(
    paper: RecipeSettings,
):
    overridden = settings.to_mapping(paper)
    overridden["datasets"] = {"ted_lium": overridden["datasets"]["ted_lium"]}
    overridden["datasets"]["ted_lium"]["signals_of_texts"] = 0
    result = run_recipe(settings.from_mapping(RecipeSettings, overridden), num_workers=1)
    numbers = {task: numbers for _, task, numbers, _ in result.counts.rows()}["st_en_de"]
    assert dict(zip(ORIGINS, numbers, strict=True))["synthetic text"] == 2 * NUM["ted_lium"]
    assert {line["audio"] for line in read_lines(result.train) if line["kind"] == "st"} == {
        line["audio"] for line in read_lines(result.train) if line["kind"] == "asr"
    }


@pytest.mark.parametrize("name", ["train.jsonl", "train.jsonl.unfinished", "counts.json"])
def test_a_file_of_the_user_in_the_folder_is_not_written_over(tmp_path: Path, name: str):
    path = write_lines(tmp_path / "t.jsonl", mt("a", "b", "c"))
    (tmp_path / name).write_text("mine")
    mapping = {"to": str(tmp_path), "datasets": {"web": {"manifests": [str(path)]}}}
    recipe = settings.from_mapping(RecipeSettings, mapping)
    with pytest.raises(OutputError, match=f"holds {name}, which taskaware did not write"):
        run_recipe(recipe)
    assert (tmp_path / name).read_text() == "mine"
    (tmp_path / name).unlink()
    run_recipe(recipe)
    assert run_recipe(recipe).counts.examples.total() == 1  # and what is ours is made again


def test_lines_that_cannot_be_read_are_counted(tmp_path: Path):
    path = write_lines(tmp_path / "t.jsonl", mt("a", "b", "c"), {"task": "mt_en_de"})
    mapping = {"to": str(tmp_path / "out"), "datasets": {"web": {"manifests": [str(path)]}}}
    result = run_recipe(settings.from_mapping(RecipeSettings, mapping))
    assert sum(result.counts.examples.values()) == 1
    assert result.counts.left_out == {("web", "join", "lines that cannot be read"): 1}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("signals_of_texts = 1", "signal_of_texts = 1", "did you mean 'signals_of_texts'"),
        ("top = 2\n", "top = 9\n", "at most `translation.beams`"),
        ("top = 2\n", "", "there are no synthetic targets"),
        ('name = "wmt"', 'name = "wmt_opensubtitles"', "different names"),
        ("[datasets.must_c]", '[datasets."../must_c"]', "must have names of letters"),
        ("tempo_range = [0.85", "tempo_range = [85", "two numbers from"),
    ],
)
def test_a_mistake_in_the_file_is_named_with_its_line(
    old: str, new: str, message: str, tmp_path: Path
):
    text = PAPER.read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "wrong.toml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(ExperimentError, match=message) as error:
        load(path)
    assert f"{path}, line " in str(error.value)


def test_a_recipe_that_translates_needs_models(tmp_path: Path):
    mapping = {"to": "out", "datasets": {"a": {"manifests": ["a.jsonl"], "top": 2}}}
    with pytest.raises(ExperimentError, match="must name the models that translate a"):
        settings.from_mapping(RecipeSettings, mapping)
