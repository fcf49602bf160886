"""``taskaware export --as onnx``: ONNX Runtime gives what PyTorch gives, for all tasks of a file.

The commands are those of docs/export.md, all of them, run once on a model of some thousand random
weights: making graphs takes seconds.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

import taskaware
from conftest import ASR, MT, random_batch
from documented import Page
from taskaware.cli.main import run
from taskaware.decoding.settings import DecodingSettings
from tiny_models import adapted, random_model
from tiny_whisper import save_whisper

onnxruntime = pytest.importorskip("onnxruntime", reason="the extra `export` is not there")
pytest.importorskip("onnxscript", reason="the extra `export` is not there")
pytest.importorskip("ctranslate2", reason="the extra `export` is not there")
pytest.importorskip("peft", reason="the extra `adapters` is not there")

from taskaware.export.standalone.decode import Model  # noqa: E402

TOLERANCE = 1e-4  # of log-probabilities, in float32
TEXTS = ["the red house", "a dog — ein Hund is far away", "x", "weg ▁ 日本"]
PAGE = Page("export.md")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder after all commands of the document.

    It has a Whisper, and a model of two tasks, for whose texts there is an encoder of its own.
    """
    folder = tmp_path_factory.mktemp("user")
    model = random_model(
        tasks=(ASR, MT),
        norm="post",
        conditioning={"cue": "explicit", "film_scope": "per_block"},
        target_positions="learnt",
        num_target_positions=40,
        num_encoder_layers=1,
        num_decoder_layers=1,
        num_text_encoder_layers=1,
    )
    model.save(folder / "runs" / "mine")
    adapted(model, "lora").save(folder / "runs" / "lora")
    whisper = save_whisper(folder / "whisper")
    assert run(["import", str(whisper), "--to", str(folder / "models" / "whisper")]) == 0
    before = Path.cwd()
    os.chdir(folder)
    try:
        for words in PAGE.commands("taskaware"):
            assert run(words[1:]) == 0, words
    finally:
        os.chdir(before)
    return folder


@pytest.fixture(scope="module")
def model_folder(place: Path) -> Path:
    return place / "runs" / "mine"


@pytest.fixture(scope="module")
def exported(place: Path) -> Path:
    return place / "exports" / "onnx"


@pytest.fixture(scope="module")
def ours(model_folder: Path) -> Any:
    return taskaware.load(model_folder, device="cpu")


def test_nothing_that_is_shared_names_a_path_of_the_machine(place: Path):
    secret = [os.fsencode(path) for path in (place, Path(taskaware.__file__).parent, Path.home())]
    files = [path for path in place.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} >= {".onnx", ".json", ".safetensors", ".md", ".bin"}
    for path in files:
        content = path.read_bytes()
        assert not [each for each in secret if each in content], path.relative_to(place)


def session(folder: Path, name: str) -> Any:
    return onnxruntime.InferenceSession(str(folder / f"{name}.onnx"))


def rows_of(model: Any, task: Any, number: int) -> torch.Tensor:
    """A t_e for each row: those of both tasks in turn, as where tasks share a batch."""
    embeddings = [model.task_embeddings[name] for name in (task.name, ASR.name, MT.name)]
    return torch.cat([embeddings[i % 3] for i in range(number)])


@pytest.mark.parametrize("number", [1, 5])
@pytest.mark.parametrize("task", [ASR, MT], ids=lambda task: task.name)
@torch.inference_mode()
def test_any_batch_of_any_lengths_gives_the_probabilities_of_pytorch(
    task: Any, number: int, exported: Path, ours: Any
):
    batch = random_batch(task, num_examples=number, seed=number)
    embedding, W = rows_of(ours, task, number), 2
    state = ours.transformer.start_decoding(
        batch.source, batch.source_lengths, task.source_modality, embedding, width=W
    )
    mask, *memory = session(exported, f"encoder_{task.source_modality}").run(
        None,
        {
            "source": batch.source.numpy(),
            "lengths": batch.source_lengths.numpy(),
            "task_embedding": embedding.numpy(),
        },
    )
    assert np.array_equal(mask, state.memory_mask_BS.numpy())
    decoder = session(exported, "decoder")
    kept = {f"memory_{i}": value for i, value in enumerate(memory)}
    kept |= {"memory_mask": mask, "task_embedding": embedding.numpy()}
    past = {f"past_{i}": np.zeros((number * W, 2, 0, 8), np.float32) for i in range(len(memory))}
    for column in range(6):
        pieces = torch.stack([batch.target_input[:, 0] + column, batch.target_input[:, 0] + 7], 1)
        logits = ours.transformer.step(pieces, state)
        logits[..., list(ours.vocabulary.NEVER)] = -1e30
        wanted = logits.log_softmax(dim=-1).numpy()
        log_probs, *new = decoder.run(None, {"pieces": pieces.numpy(), **kept, **past})
        past = {f"past_{i}": value for i, value in enumerate(new)}
        np.testing.assert_allclose(log_probs, wanted, rtol=TOLERANCE, atol=TOLERANCE)


SEARCHES = {
    "greedy": DecodingSettings(beam=1, extra_pieces=8),
    "beam": DecodingSettings(beam=4, extra_pieces=8, examples_per_batch=3),
    "as generate": DecodingSettings(
        beam=3, stopping="heuristic", length_penalty=1.0, extra_pieces=6, counted_prompt=1
    ),
    "full, with limits": DecodingSettings(
        beam=3,
        stopping="full",
        max_pieces=7,
        end_at_limit=True,
        suppressed=(5, 9),
        suppressed_first=(2, 60),
        no_repeat=2,
    ),
}


@pytest.mark.parametrize("how", SEARCHES)
def test_the_program_beside_the_files_finds_the_sequences_of_the_toolkit(
    how: str, exported: Path, ours: Any
):
    decoding = SEARCHES[how]
    theirs = Model(exported, threads=1)
    told = {name: getattr(decoding, name) for name in theirs.about["decoding"]}
    theirs.about["decoding"] = told | {
        name: list(told[name]) for name in ("suppressed", "suppressed_first")
    }
    generator = np.random.default_rng(0)
    recordings = [
        0.1 * generator.standard_normal(n).astype(np.float32) for n in (9_000, 3_000, 5_000)
    ]
    sources = {
        "mt_en_de": (TEXTS, [theirs.cut(text) for text in TEXTS]),
        "asr_en": (recordings, [theirs.features(samples) for samples in recordings]),
    }
    for task, (given, read) in sources.items():
        wanted = [row[0] for row in ours.run_many(task, given, decoding=decoding)]
        found = theirs.decode(task, read)
        assert [one.pieces for one in found] == [list(one.token_ids) for one in wanted]
        assert [one.text for one in found] == [one.text for one in wanted]
        assert [one.finished for one in found] == [one.finished for one in wanted]
        for one, other in zip(found, wanted, strict=True):
            assert one.score == pytest.approx(other.score, rel=1e-3)


def test_the_program_runs_where_neither_torch_nor_the_toolkit_is(
    place: Path, exported: Path, ours: Any, tmp_path: Path
):
    samples = 0.1 * np.random.default_rng(1).standard_normal(8_000).astype(np.float32)
    soundfile.write(tmp_path / "noise.wav", samples, 16_000, subtype="FLOAT")
    soundfile.write(tmp_path / "talk.wav", samples, 16_000, subtype="PCM_32")
    (tmp_path / "lines.txt").write_text("the red house\n\na dog\n", encoding="utf-8")
    hidden = (
        "import sys, runpy\nfor name in ('torch', 'taskaware', 'soundfile', 'sentencepiece'):\n"
    )
    hidden += "    sys.modules[name] = None\n"
    hidden += "sys.argv = sys.argv[1:]\nrunpy.run_path(sys.argv[0], run_name='__main__')\n"

    def decoded(*arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the document's command with other arguments."""
        (script,) = {words[1] for words in PAGE.commands("python")}
        assert place / script == exported / "decode.py"
        command = [sys.executable, "-c", hidden, str(place / script), *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    spoken = decoded("--task", "asr_en", "talk.wav", "--beam", "1", "--threads", "1")
    greedy = replace(ours.decoding, beam=1)
    wanted = ours.run("asr_en", tmp_path / "talk.wav", decoding=greedy)
    assert spoken.stdout == " ".join(wanted.splitlines()) + "\n", spoken.stderr
    written = decoded("--task", "mt_en_de", "lines.txt").stdout.split("\n")
    assert written[1] == ""
    assert written[0] == " ".join(ours.run("mt_en_de", "the red house").splitlines())
    for name, message in (("noise.wav", "must be a WAV file of PCM"), ("none.wav", "none.wav")):
        refused = decoded("--task", "asr_en", name)
        assert refused.returncode == 1
        assert refused.stderr.startswith("decode.py:")
        assert message in refused.stderr
    assert "one of asr_en, mt_en_de" in decoded("--task", "st", "talk.wav").stderr


def test_whole_numbers_of_8_bits_are_smaller_and_close(ours: Any, exported: Path):
    folder = exported.with_name("onnx-int8")
    names = ("encoder_text.onnx", "decoder.onnx")
    assert sum((folder / name).stat().st_size for name in names) < 0.9 * sum(
        (exported / name).stat().st_size for name in names
    )
    whole, rounded = Model(exported, threads=1), Model(folder, threads=1)
    given = {
        "source": np.array([whole.cut(TEXTS[0])]),
        "lengths": np.array([len(whole.cut(TEXTS[0]))]),
        "task_embedding": ours.task_embeddings["mt_en_de"].numpy(),
    }
    before, after = (model._run("encoder_text", given) for model in (whole, rounded))
    for name in ("memory_0", "memory_1"):
        difference = np.abs(before[name] - after[name]).max()  # a task folded in, and rounding
        assert 0 < difference < 0.2 * np.abs(before[name]).max()
    assert rounded.decode("mt_en_de", [rounded.cut(TEXTS[0])])[0].pieces


def test_what_is_written_says_all_that_the_program_needs(exported: Path, ours: Any):
    about = json.loads((exported / "export.json").read_text(encoding="utf-8"))
    assert [task["name"] for task in about["tasks"]] == ["asr_en", "mt_en_de"]
    assert about["longest_target"] == 40
    embedding = ours.task_embeddings["asr_en"][0].tolist()
    assert about["tasks"][0]["task_embedding"] == pytest.approx(embedding)
    names = {path.name for path in exported.iterdir() if not path.name.startswith(".")}
    assert names == {
        *("decode.py", "decoder.onnx", "encoder_speech.onnx", "encoder_text.onnx"),
        *("export.json", "features.npz"),
    }
