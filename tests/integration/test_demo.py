"""The demo at toy size: every stage, the figures and the page that it promises."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from taskaware import demo
from taskaware.cli.main import run
from taskaware.data.embedded import corpus as embedded
from tiny_corpus import TASK_NAMES

pytestmark = pytest.mark.slow

EXPERIMENT = Path(__file__).resolve().parents[2] / "experiments" / "demo.toml"
TOY = embedded.EmbeddedCorpusSettings(
    num_train_sentences=48,
    num_dev_sentences=6,
    num_test_sentences=6,
    num_train_voices=4,
    num_dev_voices=4,
    num_test_voices=4,
)
OVERRIDES = ["training.updates=5", "training.log_every=1", "decoding.beam=1"]
OVERRIDES += ["decoding.extra_pieces=4", "model.d_model=32", "training.support_examples=8"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `taskaware demo --compare` leaves."""
    for name in ("espeakng_loader", "matplotlib", "sklearn"):
        pytest.importorskip(name, reason="needs the extra 'demo'")
    folder = tmp_path_factory.mktemp("demo") / "demo"
    corpus = SimpleNamespace(EmbeddedCorpusSettings=lambda: TOY, write=embedded.write)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "embedded", corpus)
        assert run(["demo", str(EXPERIMENT), *OVERRIDES, "--to", str(folder), "--compare"]) == 0
    return folder


def test_the_figures_of_every_model_and_task_are_in_results_json(folder: Path):
    results = json.loads((folder / "results.json").read_text())
    assert list(results) == ["implicit", "vanilla", "explicit"]
    for model in results.values():
        assert set(model["tasks"]) == set(TASK_NAMES)
        assert model["updates"] == 5
        assert model["training_seconds"] > 0
        for name, figures in model["tasks"].items():
            assert figures["metric"] == ("wer" if name == "asr_en" else "bleu")
            assert figures["score"] >= 0
            assert 0 <= figures["confusion_rate"] <= 1
            assert figures["examples"] == TOY.num_test_sentences
            assert figures["seconds"] > 0
    sizes = {name: sum(model["parameters"].values()) for name, model in results.items()}
    assert sizes["vanilla"] < sizes["explicit"] < sizes["implicit"]


def test_the_report_is_one_page_that_needs_nothing_else(folder: Path):
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"""(src|href|srcset|data)\s*=\s*["']?(https?:)?//""", page)
    assert not re.search(r"""(url\(|@import)\s*["']?(https?:)?//""", page)
    assert "<script src" not in page
    assert len(re.findall(r"<audio[^>]*", page)) >= 3
    assert "data:audio/wav;base64," in page
    assert page.count("<svg") >= 2, "the loss curves and the t-SNE"
    for words in ("synthetic", "implicit", "vanilla", "explicit", *TASK_NAMES):
        assert words in page


def test_every_run_leaves_a_model_and_its_outputs(folder: Path):
    import taskaware

    for name in ("implicit", "vanilla", "explicit"):
        model = taskaware.load(folder / name / "model")
        assert isinstance(model.translate("The teacher reads a red book.", to="de"), str)
        outputs = folder / name / "evaluation" / "test" / "outputs.jsonl"
        assert len(outputs.read_text().splitlines()) == 3 * TOY.num_test_sentences


def test_the_same_command_goes_on_where_it_was(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    corpus = SimpleNamespace(EmbeddedCorpusSettings=lambda: TOY, write=embedded.write)
    monkeypatch.setattr(demo, "embedded", corpus)
    before = (folder / "implicit" / "log.jsonl").read_text()
    assert run(["demo", str(EXPERIMENT), *OVERRIDES, "--to", str(folder)]) == 0
    shown = capsys.readouterr()
    assert "resuming from update 5" in shown.err
    assert (folder / "implicit" / "log.jsonl").read_text() == before
    [line] = [
        line for line in shown.out.splitlines() if "taskaware predict" in line and ".flac" in line
    ]
    assert run(line.split()[1:]) == 0
