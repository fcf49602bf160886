"""``taskaware augment`` with real models: killed and gone on with, one step and a whole recipe."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import torch

from conftest import MT, tiny_settings
from taskaware.augment.settings import TranslationModelSettings, TranslationSettings
from taskaware.augment.translate import translate
from taskaware.cli.main import run
from taskaware.data.sound.settings import FeatureSettings
from taskaware.data.vocabulary import Vocabulary
from taskaware.decoding.settings import DecodingSettings
from taskaware.inference import TaskAwareModel
from taskaware.model.create_model import create_model
from tiny_corpus import write_corpus

if TYPE_CHECKING:
    from pathlib import Path

_NUM_TRANSCRIPTS = 16
_STEP = """
import os, signal, sys
from pathlib import Path
from taskaware.augment import translate as module
from taskaware.augment.settings import TranslationModelSettings, TranslationSettings

manifest, to, kill_at, *models = sys.argv[1:]
module._BLOCK_SIZE, module._BATCHES_PER_CALL = 5, 1

def progress(stage, done, total):
    if done == int(kill_at):
        os.kill(os.getpid(), signal.SIGKILL)

settings = TranslationSettings(
    task="mt_en_de", examples_per_batch=2, keep_unfinished=True
)
chosen = [TranslationModelSettings(folder=Path(model)) for model in models]
module.translate([Path(manifest)], Path(to), chosen, settings, device="cpu", progress=progress)
"""


class Place:
    """A corpus and two models that were never trained: their outputs are noise, and differ."""

    def __init__(self, folder: Path) -> None:
        self.train = write_corpus(folder)["train"]
        self.models = [folder / "first", folder / "second"]
        words = ["one two six ten", "eins zwei sechs zehn"]
        vocabulary = Vocabulary.train(words, size=300, tags=["<task:mt_en_de>"])
        for seed, path in enumerate(self.models):
            torch.manual_seed(seed)
            settings = tiny_settings(conditioning={"cue": "none"}, num_features=80)
            model = create_model(settings, vocabulary_size=vocabulary.size, tasks=(MT,))
            TaskAwareModel(
                transformer=model.eval(),
                settings=settings,
                tasks=(MT,),
                vocabulary=vocabulary,
                feature_settings=FeatureSettings(),
                decoding=DecodingSettings(extra_pieces=4),
            ).save(path)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("augment"))


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]):
    """Run a command and return its exit code, standard output and standard error."""

    def call(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = run([str(word) for word in words])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return code, captured.out, captured.err

    return call


def lines_of(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def translate_words(place: Place, to: Path) -> list[object]:
    models = [word for model in place.models for word in ("--model", model)]
    return ["augment", "translate", "--manifest", place.train, *models, "--to", to,
            "--keep-unfinished", "--device", "cpu"]  # fmt: skip


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_killed_in_the_middle_and_gone_on_with_the_bytes_are_the_same(place: Place, tmp_path: Path):
    def call(to: Path, kill_at: int) -> int:
        words = [str(place.train), str(to), str(kill_at), *map(str, place.models)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run([sys.executable, "-c", _STEP, *words], env=environment, check=False)
        return done.returncode

    assert call(tmp_path / "whole.jsonl", -1) == 0
    path = tmp_path / "killed.jsonl"
    assert call(path, 8) == -signal.SIGKILL  # of 16, in the second block of 5
    journal = json.loads((tmp_path / "killed.journal.json").read_text())
    assert (path.exists(), journal["num_inputs"]) == (False, 5)
    assert call(path, -1) == 0
    assert path.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_two_models_give_at_most_four_outputs_of_each_transcript_marked_with_their_origin(
    place: Place, command, tmp_path: Path
):
    code, out, _ = command(*translate_words(place, tmp_path / "o.jsonl"), "--task", "mt_en_de")
    assert code == 0
    assert "taskaware prepare --train" in out
    by_audio: dict[str, list[dict[str, str]]] = {}
    for line in lines_of(tmp_path / "o.jsonl"):
        by_audio.setdefault(line["audio"], []).append(line)
    assert len(by_audio) == _NUM_TRANSCRIPTS
    for lines in by_audio.values():
        assert 2 <= len(lines) <= 4
        assert len({line["target_text"] for line in lines}) == len(lines)
        assert len({line["origin"] for line in lines}) == len(lines)
    origins = {line["origin"] for lines in by_audio.values() for line in lines}
    assert origins == {
        f"translation by {name}, beam {beam}" for name in ("first", "second") for beam in (1, 2)
    }
    code, out, _ = command(*translate_words(place, tmp_path / "o.jsonl"), "--task", "mt_en_de")
    assert (code, "already complete" in out) == (0, True)


def test_the_outputs_are_those_of_the_models_own_beam_search(place: Place, tmp_path: Path):
    from taskaware.inference import load, with_beam

    settings = TranslationSettings(task="mt_en_de", beams=3, keep_unfinished=True)
    chosen = [TranslationModelSettings(folder=place.models[0])]
    translate([place.train], tmp_path / "o.jsonl", chosen, settings, device="cpu")
    model = load(place.models[0], device="cpu")
    english = place.train.read_text().splitlines()[1].split("\t")[3]
    found = model.run_many("mt_en_de", [english], decoding=with_beam(model.decoding, 3, 2))[0]
    written = {line["origin"][-1]: line["target_text"] for line in lines_of(tmp_path / "o.jsonl")
               if line["utterance"] == "train0"}  # fmt: skip
    assert written["1"] == found[0].text
    assert all(found[int(beam) - 1].text == text for beam, text in written.items())


def test_ctrl_c_leaves_what_is_done_and_says_how_to_go_on(
    place: Place, command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from taskaware.augment import translate as module

    monkeypatch.setattr(module, "_BLOCK_SIZE", 5)
    original, calls = TaskAwareModel.decode, 0

    def decode(*arguments, **named):
        nonlocal calls
        calls += 1
        if calls == 4:  # the second model in the second block
            os.kill(os.getpid(), signal.SIGINT)
        return original(*arguments, **named)

    monkeypatch.setattr(TaskAwareModel, "decode", decode)
    words = [*translate_words(place, tmp_path / "o.jsonl"), "--task", "mt_en_de"]
    code, out, _ = command(*words)
    assert (code, "the same command resumes it" in out) == (130, True)
    code, out, _ = command(*words)
    assert (code, "Resumed from example 5" in out) == (0, True)


def test_a_recipe_makes_a_training_set_and_shows_its_counts(place: Place, command, tmp_path: Path):
    recipe = tmp_path / "recipe.toml"
    models = "".join(f'[[models]]\nfolder = "{model}"\n' for model in place.models)
    recipe.write_text(
        f'to = "{tmp_path}/out"\n{models}'
        '[translation]\ntask = "mt_en_de"\nkeep_unfinished = true\n'
        f'[datasets.tones]\nmanifests = ["{place.train}"]\ntop = 1\nsignals_of_texts = 1\n'
        "signals_of_originals = 3\n"
    )
    words = ("augment", recipe, "--device", "cpu", "--workers", 1)
    code, out, _ = command(*words)
    assert code == 0
    [cells] = [line.split() for line in out.splitlines() if "st_en_de" in line]
    assert cells[:5] == ["tones", "st_en_de", "16", "0", "48"]
    assert int(cells[-2]) == len(
        [line for line in lines_of(tmp_path / "out" / "train.jsonl") if line["kind"] == "st"]
    )
    before = (tmp_path / "out" / "train.jsonl").read_bytes()
    code, again, _ = command(*words, "seed=1")
    assert (code, again) == (0, out)
    assert (tmp_path / "out" / "train.jsonl").read_bytes() == before
    code, _, err = command(*words, "seed=2")
    assert (code, "seed was 1 and is 2" in err) == (2, True)


def test_a_wrong_task_is_refused_with_the_nearest_name(place: Place, command, tmp_path: Path):
    words = translate_words(place, tmp_path / "o.jsonl")
    code, _, err = command(*words, "--task", "mt_en_d")
    assert (code, "did you mean 'mt_en_de'" in err) == (2, True)
    code, _, err = command(*words, "--task", "mt_en_de", "--of", "asr_e")
    assert (code, "did you mean 'asr_en'" in err) == (2, True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--task", "mt_en_de", "--top", 5], "top must be at most `beams` (4)"),
        (["--task", "mt_en_de", "--beams", 0], "--beams must be a whole number of at least 1"),
        ([], "task"),
    ],
)
def test_misuse_of_translate_ends_with_2(words, message: str, place: Place, command, tmp_path):
    code, out, err = command(*translate_words(place, tmp_path / "o.jsonl"), *words)
    assert (code, message in out + err) == (2, True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["signal", "--to", "o.jsonl", "--copies", "many"], "--copies must be a number"),
        (["signal", "--to", "o.jsonl", "--change", "temp=1"], "is not a known key"),
        (["signal", "--to", "o.jsonl", "--change", "tempo"], "--change must be NAME=VALUE"),
        (["signal", "--to", "o.tsv"], "--to must be a file NAME.jsonl"),
        (["signal", "--to", "o.jsonl", "--copies", "trian=2"], "must be one of train"),
        (["speak", "--to", "o.jsonl", "--voices", 99], "voices must be from 1 to 18"),
        (["nonsense.toml"], "there is no such file"),
    ],
)
def test_misuse_of_the_other_commands_ends_with_2(
    words, message: str, place: Place, command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    manifest = ["--manifest", place.train] if words[0] in ("signal", "speak") else []
    code, out, err = command("augment", *words, *manifest)
    assert (code, message in out + err) == (2, True)
    assert not list(tmp_path.iterdir())


def test_a_folder_without_a_model_ends_with_1(place: Place, command, tmp_path: Path):
    words = ["augment", "translate", "--manifest", place.train, "--task", "mt_en_de"]
    code, _, err = command(*words, "--model", tmp_path / "none", "--to", tmp_path / "o.jsonl")
    assert (code, "must be a model folder" in err) == (1, True)
