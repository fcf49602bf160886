"""What is not installed is said before long work, and not at its end."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from taskaware.cli.main import run

ROOT = Path(__file__).parents[3]
RECIPE = """
to = "made"

[datasets.texts]
manifests = ["texts.jsonl"]
voices = 1
"""


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Let packages seem not to be installed, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return lambda name: monkeypatch.setitem(sys.modules, name, None)


@pytest.mark.parametrize("package", ["matplotlib", "sklearn"])
def test_a_study_says_what_its_figures_need_before_anything_is_trained(
    package: str, without, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    without(package)
    assert run(["study", str(ROOT / "studies" / "scaling.toml")]) == 2
    said = capsys.readouterr().err
    assert f"a study needs {package}, not installed here" in said
    assert "pip install 'taskaware[report]'" in said
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("package", ["espeakng_loader", "matplotlib", "sklearn"])
def test_the_demo_says_what_it_needs_before_it_makes_anything(
    package: str, without, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    without(package)
    assert run(["demo", str(ROOT / "experiments" / "demo.toml")]) == 2
    said = capsys.readouterr().err
    assert f"the demo needs {package}, not installed here" in said
    assert "pip install 'taskaware[demo]'" in said
    assert not list(tmp_path.iterdir())


def test_a_recipe_says_that_it_cannot_speak_before_it_translates(
    without, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    without("espeakng_loader")
    (tmp_path / "recipe.toml").write_text(RECIPE)
    assert run(["augment", "recipe.toml"]) == 2
    assert "synthetic speech needs espeakng_loader" in capsys.readouterr().err
    assert not (tmp_path / "made").exists()
