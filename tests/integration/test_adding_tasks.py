"""Tasks that are added to a trained model: what they begin with, what is trained, what stays."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

import taskaware
from taskaware.cli.main import run
from taskaware.data.batches.batching import batches_of
from taskaware.data.prepare import PrepareSettings, prepare
from taskaware.data.prepared import PreparedData
from taskaware.errors import ExperimentError, UnknownTaskError, UserError
from taskaware.run.run import Run, set_up
from taskaware.run.train import train_experiment
from taskaware.settings.typed import require_valid
from taskaware.training.checkpoint import load_tensors
from taskaware.training.optimiser import create_optimiser
from taskaware.training.processes import Processes
from tiny_corpus import (
    TASK_NAMES,
    Silent,
    assert_same_models,
    interrupt_in,
    prepare_corpus,
    tiny_experiment,
    write_new_task,
)

if TYPE_CHECKING:
    from taskaware.inference.model import TaskAwareModel

EXPERIMENTS = Path(__file__).resolve().parents[2] / "experiments"
NEW = "mt_de_en"
CUES = ("explicit", "implicit")
KEEPING = ("task_network", "task_embedding")
ALONE = Processes(rank=0, num_ranks=1, device=torch.device("cpu"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def starts(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A trained model of the three tasks for each cue."""
    folder = tmp_path_factory.mktemp("starts")
    for cue in (*CUES, "none", "target_tag"):
        experiment = tiny_experiment(data, conditioning={"cue": cue}, updates=4)
        assert train_experiment(experiment, folder / cue, display=Silent())
    return {path.name: path for path in folder.iterdir()}


@pytest.fixture(scope="module")
def new_data(data: Path, starts: dict[str, Path]) -> Path:
    """The new task alone, in the vocabulary of the starts, which has never read German sources."""
    manifests = {split: [path] for split, path in write_new_task(data.parent).items()}
    vocabulary = starts["none"] / "model" / "vocabulary.model"
    prepare(manifests, data.parent / "new", PrepareSettings(num_workers=1), vocabulary=vocabulary)
    return data.parent / "new"


def add(new_data: Path, start: Path, folder: Path, **changes: Any) -> TaskAwareModel:
    cue = changes.pop("cue", start.name)
    experiment = tiny_experiment(new_data, start=start, conditioning={"cue": cue}, **changes)
    assert train_experiment(experiment, folder, display=Silent())
    return taskaware.load(folder, device="cpu")


def set_up_run(new_data: Path, start: Path, **changes: Any) -> Run:
    cue = changes.pop("cue", start.name)
    experiment = tiny_experiment(new_data, start=start, conditioning={"cue": cue}, **changes)
    return set_up(experiment, new_data / "unused", ALONE)


def logits(model: TaskAwareModel, data: PreparedData, task_name: str) -> torch.Tensor:
    task, split = model.task(task_name), data.split("test")
    (batch,) = batches_of(
        split,
        task,
        [split.indices(task_name)],
        vocabulary=model.vocabulary,
        cue=model.settings.conditioning.cue,
    )
    with torch.inference_mode():
        return model.transformer(batch, model.task_embeddings.get(task_name))


@pytest.mark.parametrize("cue", CUES)
@pytest.mark.parametrize("trains", KEEPING)
def test_with_a_frozen_base_the_old_tasks_stay_bit_for_bit(
    cue: str, trains: str, data: Path, new_data: Path, starts: dict[str, Path], tmp_path: Path
):
    before = taskaware.load(starts[cue], device="cpu")
    after = add(new_data, starts[cue], tmp_path / "more", trains=trains)
    assert tuple(task.name for task in after.tasks) == (*TASK_NAMES, NEW)
    opened = PreparedData.open(data)
    for name in TASK_NAMES:
        assert torch.equal(before.task_embeddings[name], after.task_embeddings[name])
        assert torch.equal(logits(before, opened, name), logits(after, opened, name))
        sources = [opened.split("test").source(i) for i in opened.split("test").indices(name)]
        outputs = [model.decode(model.task(name), sources) for model in (before, after)]
        assert outputs[0] == outputs[1]
        assert before.longest_sources[name] == after.longest_sources[name]
    old = before.transformer.state_dict()
    for name, value in after.transformer.state_dict().items():
        if not name.startswith("task_network."):
            assert torch.equal(value, old[name]), name
        elif trains == "task_embedding":
            assert torch.equal(value[: len(old[name])], old[name]), name
    assert after.run(NEW, "eins zwei") is not None


@pytest.mark.parametrize("cue", CUES)
@pytest.mark.parametrize("trains", KEEPING)
def test_the_new_task_is_learnt_with_a_frozen_base(
    cue: str, trains: str, new_data: Path, starts: dict[str, Path], tmp_path: Path
):
    def loss_of(model: TaskAwareModel) -> float:
        opened = PreparedData.open(new_data)
        task, split = model.task(NEW), opened.split("train")
        groups = [split.indices(NEW)]
        (batch,) = batches_of(split, task, groups, vocabulary=model.vocabulary, cue="none")
        with torch.inference_mode():
            found = model.transformer(batch, model.task_embeddings[NEW])
        return float(
            torch.nn.functional.cross_entropy(
                found.flatten(0, 1), batch.target_output.flatten(), ignore_index=0
            )
        )

    little = {"updates": 1, "optimiser": {"learning_rate": 1e-9}}
    first = add(new_data, starts[cue], tmp_path / "first", trains=trains, **little)
    much = {"updates": 30, "optimiser": {"learning_rate": 0.05}, "validate_every": 0}
    last = add(new_data, starts[cue], tmp_path / "last", trains=trains, save_every=0, **much)
    assert loss_of(last) < loss_of(first) - 0.2


def test_a_new_row_begins_at_the_mean_of_the_old_ones(new_data: Path, starts: dict[str, Path]):
    made = set_up_run(new_data, starts["explicit"])
    old = taskaware.load(starts["explicit"], device="cpu").transformer.task_network.rows
    rows = made.model.task_network.rows
    assert torch.equal(rows[:3], old)
    torch.testing.assert_close(rows[3], old.mean(dim=0))


def test_an_implicit_network_tells_a_new_task_by_its_pairs(
    new_data: Path, starts: dict[str, Path], tmp_path: Path
):
    little = {"updates": 1, "optimiser": {"learning_rate": 1e-9}}
    for trains in ("everything", "task_embedding"):
        model = add(new_data, starts["implicit"], tmp_path / trains, trains=trains, **little)
        split = PreparedData.open(new_data).split("train")
        pairs = [
            (split.examples[i].source_text, split.examples[i].target_text)
            for i in split.sample(NEW, 8, np.random.default_rng([1, 2]))
        ]
        torch.testing.assert_close(
            model.task_embeddings[NEW], model.embed_task(pairs, task=NEW), atol=1e-5, rtol=0
        )


@pytest.mark.parametrize("cue", CUES)
def test_a_start_without_a_task_network_gets_one_that_changes_nothing(
    cue: str, data: Path, new_data: Path, starts: dict[str, Path], tmp_path: Path
):
    before = taskaware.load(starts["none"], device="cpu")
    for trains in KEEPING:
        after = add(new_data, starts["none"], tmp_path / trains, cue=cue, trains=trains)
        opened = PreparedData.open(data)
        for name in TASK_NAMES:
            assert torch.equal(logits(before, opened, name), logits(after, opened, name))
        assert not torch.equal(after.task_embeddings[NEW], after.task_embeddings["mt_en_de"])


TRAINED = {  # the parts of the model of which something is trained
    "everything": {"token_embedding", "frontends", "encoder", "decoder", "task_network"}
    | {"encoder_norm", "decoder_norm"},
    "decoder": {"token_embedding", "decoder", "decoder_norm", "task_network"},
    "task_network_and_norms": {"encoder", "decoder", "encoder_norm", "decoder_norm"}
    | {"task_network"},
    "task_network_and_bottlenecks": {"task_network"},  # the starts have no bottleneck
    "task_network": {"task_network"},
    "task_embedding": {"task_vectors"},
}


@pytest.mark.parametrize("trains", TRAINED)
def test_what_is_frozen_takes_neither_gradient_nor_memory_of_the_optimiser(
    trains: str, new_data: Path, starts: dict[str, Path], tmp_path: Path
):
    made = set_up_run(new_data, starts["implicit"], trains=trains)
    trained = [name for name, p in made.model.named_parameters() if p.requires_grad]
    assert {name.split(".")[0] for name in trained} == TRAINED[trains]
    if trains == "task_network_and_norms":
        assert all("norm" in name or name.startswith("task_network.") for name in trained)
    optimiser = create_optimiser(made.experiment.optimiser, made.model)
    held = {id(p) for group in optimiser.param_groups for p in group["params"]}
    assert held == {id(p) for p in made.model.parameters() if p.requires_grad}
    add(new_data, starts["implicit"], tmp_path / "run", trains=trains, updates=2)
    newest = sorted((tmp_path / "run" / "checkpoints").iterdir())[-1]
    moments = load_tensors(newest / "optimiser.safetensors")
    assert len({key.split(".")[0] for key in moments}) <= len(trained)


@pytest.mark.parametrize("cue", CUES)
@pytest.mark.parametrize("trains", [t for t in TRAINED if t != "everything"])
def test_a_frozen_run_that_was_stopped_ends_bitwise_as_one_that_never_was(
    cue: str, trains: str, new_data: Path, starts: dict[str, Path], tmp_path: Path
):
    experiment = tiny_experiment(
        new_data,
        start=starts[cue],
        conditioning={"cue": cue},
        trains=trains,
        model={"dropout": 0.2},
    )
    assert train_experiment(experiment, tmp_path / "whole", display=Silent())
    assert not train_experiment(experiment, tmp_path / "parts", display=interrupt_in(3))
    assert train_experiment(experiment, tmp_path / "parts", display=Silent())
    assert_same_models(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.parametrize("method", ["replay", "distillation", "ewc"])
@pytest.mark.parametrize("trains", ["everything", "decoder", "task_network_and_norms"])
def test_old_tasks_are_kept_where_the_base_trains(
    method: str, trains: str, data: Path, starts: dict[str, Path], tmp_path: Path
):
    both = data.parent / "both"
    if not both.exists():
        manifests = {
            split: [data.parent / f"{split}.tsv", path]
            for split, path in write_new_task(data.parent).items()
        }
        vocabulary = starts["none"] / "model" / "vocabulary.model"
        prepare(manifests, both, PrepareSettings(num_workers=1), vocabulary=vocabulary)
    changes = {"trains": trains, "tasks": (NEW,), "updates": 2}
    retention = {"method": method, "memory_examples": 4}
    kept = add(both, starts["implicit"], tmp_path / "kept", retention=retention, **changes)
    plain = add(both, starts["implicit"], tmp_path / "plain", **changes)
    assert [task.name for task in kept.tasks] == [*TASK_NAMES, NEW]
    left, right = kept.transformer.state_dict(), plain.transformer.state_dict()
    assert any(not torch.equal(left[name], right[name]) for name in left)


@pytest.mark.parametrize("cue", CUES)
def test_bottlenecks_learn_again_and_tasks_that_they_are_closed_to_stay_bit_for_bit(
    cue: str, data: Path, new_data: Path, starts: dict[str, Path], tmp_path: Path
):
    before = taskaware.load(starts["none"], device="cpu")
    with_bottlenecks: dict[str, Any] = {"cue": cue, "bottleneck": 4}
    experiment = tiny_experiment(
        new_data, start=starts["none"], conditioning=with_bottlenecks, trains="task_network"
    )
    assert train_experiment(experiment, tmp_path / "first", display=Silent())
    again = tiny_experiment(
        new_data,
        start=tmp_path / "first",
        conditioning=with_bottlenecks,
        trains="task_network_and_bottlenecks",
        tasks=(NEW,),
    )
    assert train_experiment(again, tmp_path / "second", display=Silent())
    first, second = (taskaware.load(tmp_path / name, device="cpu") for name in ("first", "second"))
    opened = PreparedData.open(data)
    for name in TASK_NAMES:
        assert torch.equal(logits(before, opened, name), logits(second, opened, name))
    old = first.transformer.state_dict()
    for name, value in second.transformer.state_dict().items():
        is_trained = ".bottleneck." in name or name.startswith("task_network.")
        assert torch.equal(value, old[name]) != is_trained, name
    assert not torch.equal(first.task_embeddings[NEW], second.task_embeddings[NEW])


@pytest.mark.parametrize("cue", CUES)
def test_a_run_of_vectors_can_be_a_start_with_them(
    cue: str, new_data: Path, starts: dict[str, Path], tmp_path: Path
):
    first = add(new_data, starts[cue], tmp_path / "first", trains="task_embedding")
    newest = sorted((tmp_path / "first" / "checkpoints").iterdir())[-1]
    assert set(load_tensors(newest / "model.safetensors")) > set(first.transformer.state_dict())
    little = {"updates": 1, "optimiser": {"learning_rate": 1e-9}, "trains": "task_embedding"}
    for start in (tmp_path / "first" / "best", newest):
        again = add(new_data, start, tmp_path / start.name, cue=cue, **little)
        assert [task.name for task in again.tasks] == [*TASK_NAMES, NEW]
        own = first.task_embeddings[NEW] if start.name == "best" else None
        if own is not None:
            torch.testing.assert_close(again.task_embeddings[NEW], own, atol=1e-6, rtol=0)
        else:
            assert NEW in again.task_embeddings


def test_a_frozen_base_is_not_adapted_by_meta_learning(
    new_data: Path, starts: dict[str, Path], tmp_path: Path
):
    before = taskaware.load(starts["implicit"], device="cpu").transformer.state_dict()
    for trains in KEEPING:
        model = add(
            new_data,
            starts["implicit"],
            tmp_path / trains,
            trains=trains,
            learning={"strategy": "meta"},
            updates=2,
        )
        value = model.transformer.state_dict()["token_embedding.weight"]
        assert torch.equal(value, before["token_embedding.weight"])


def test_the_commands_that_add_a_task_to_the_demo_do_so_at_toy_size(
    data: Path, starts: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """What ``scripts/add_task`` does, one command after the other."""
    script = EXPERIMENTS / "manifests" / "fourth_task.py"
    command = [sys.executable, script, "--from", data.parent, "--to", tmp_path / "manifests"]
    subprocess.run(command, check=True, capture_output=True)
    options = [
        word
        for split in ("train", "dev", "test")
        for word in (f"--{split}", str(tmp_path / "manifests" / f"{split}.tsv"))
    ]
    options += ["--vocabulary", str(starts["implicit"] / "model" / "vocabulary.model")]
    assert run(["prepare", *options, "--to", str(tmp_path / "data")]) == 0
    changes = [f"start.model={starts['implicit']}", f"data.folder={tmp_path / 'data'}"]
    changes += ["training.updates=2", "training.num_threads=1", "--to", str(tmp_path / "run")]
    assert run(["train", str(EXPERIMENTS / "add_task.toml"), *changes]) == 0
    said = capsys.readouterr().err
    assert "task copy_en: new, added to the 3 tasks" in said
    assert "`start.trains` is 'task_embedding': 32 of" in said
    before = taskaware.load(starts["implicit"], device="cpu")
    after = taskaware.load(tmp_path / "run", device="cpu")
    assert [task.name for task in after.tasks] == [*TASK_NAMES, "copy_en"]
    assert (before.settings, before.decoding) == (after.settings, after.decoding)
    old, new = before.transformer.state_dict(), after.transformer.state_dict()
    assert old.keys() == new.keys()
    assert all(torch.equal(old[name], new[name]) for name in old)


# --- what is refused ---


def test_a_tag_that_the_vocabulary_does_not_have_cannot_be_added(
    new_data: Path, starts: dict[str, Path], tmp_path: Path
):
    with pytest.raises(UnknownTaskError, match=r"'mt_de_en' has none.*explicit"):
        add(new_data, starts["target_tag"], tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_name_that_neither_the_start_nor_the_data_has_is_refused(
    new_data: Path, starts: dict[str, Path], tmp_path: Path
):
    with pytest.raises(UnknownTaskError, match=r"'mt_de_es' is neither.*did you mean"):
        add(new_data, starts["implicit"], tmp_path / "run", tasks=("mt_de_es",))


def test_a_new_task_with_the_name_of_another_is_refused(
    data: Path, starts: dict[str, Path], tmp_path: Path
):
    manifest = tmp_path / "train.tsv"
    columns = "task\tsource_text\ttarget_text\tsource_language\ttarget_language\n"
    manifest.write_text(f"{columns}mt_en_de\teins zwei\tone two\tde\ten\n")
    vocabulary = starts["none"] / "model" / "vocabulary.model"
    settings = PrepareSettings(num_workers=1)
    prepare({"train": [manifest]}, tmp_path / "data", settings, vocabulary=vocabulary)
    with pytest.raises(UserError, match="'mt_en_de' must be the same"):
        add(tmp_path / "data", starts["implicit"], tmp_path / "run")


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"trains": "task_embedding", "cue": "none"}, "only with 'explicit' and 'implicit'"),
        ({"trains": "task_network", "cue": "target_tag"}, "only with 'explicit' and 'implicit'"),
        ({"trains": "task_network", "start": None}, "start.model must be set"),
        (
            {"trains": "task_embedding", "retention": {"method": "replay"}},
            "start.retention must have the method 'none'",
        ),
    ],
    ids=str,
)
def test_settings_that_contradict_one_another_are_refused(
    changes: dict[str, Any], wanted: str, new_data: Path, starts: dict[str, Path]
):
    arguments = {
        "start": starts["implicit"],
        "conditioning": {"cue": changes.pop("cue", "implicit")},
    }
    with pytest.raises(ExperimentError, match=wanted):
        require_valid(tiny_experiment(new_data, **(arguments | changes)))


def test_a_new_kind_of_source_needs_a_front_end_that_is_trained(data: Path, tmp_path: Path):
    texts = tiny_experiment(data, tasks=("mt_en_de",), updates=1)
    assert train_experiment(texts, tmp_path / "texts", display=Silent())
    with pytest.raises(ExperimentError, match=r"must be 'everything'.*'asr_en': speech"):
        add(data, tmp_path / "texts", tmp_path / "run", cue="implicit", trains="task_network")
    model = add(data, tmp_path / "texts", tmp_path / "run", cue="implicit", updates=1)
    assert [task.name for task in model.tasks] == ["mt_en_de", "asr_en", "st_en_de"]
