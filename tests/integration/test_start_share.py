"""Models that are the mean of what a run began with and of what it has learnt (`start.share`)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch

import taskaware
from taskaware.errors import ExperimentError
from taskaware.model.parts import neutral_task_embedding
from taskaware.run.train import train_experiment
from tiny_corpus import Silent, assert_same_models, figures, prepare_corpus, tiny_experiment

if TYPE_CHECKING:
    from pathlib import Path

    from taskaware.model.conditioning_settings import Cue
    from taskaware.run.experiment import Experiment
    from taskaware.training.settings import Trains

SHARE = 0.25


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def start(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model without a task network, as an imported one has none."""
    folder = tmp_path_factory.mktemp("run") / "start"
    experiment = tiny_experiment(data, conditioning={"cue": "none"})
    assert train_experiment(experiment, folder, display=Silent())
    return folder / "model"


def sharing(experiment: Experiment, share: float) -> Experiment:
    return replace(experiment, start=replace(experiment.start, share=share))


def tune(
    data: Path, start: Path, folder: Path, *, cue: Cue = "none", trains: Trains = "everything"
) -> Experiment:
    """Fine-tune without a share; return the experiment."""
    experiment = tiny_experiment(data, start=start, conditioning={"cue": cue}, trains=trains)
    assert train_experiment(experiment, folder, display=Silent())
    return experiment


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return taskaware.load(folder).transformer.state_dict()


@pytest.mark.parametrize("trains", ["everything", "decoder"])
def test_a_finished_run_that_is_given_a_share_gets_the_weighted_mean_in_every_model(
    trains: Trains, data: Path, start: Path, tmp_path: Path
):
    experiment = tune(data, start, tmp_path / "run", trains=trains)
    names = ("model", "best", "average", "taskwise/asr_en")
    trained = {name: weights(tmp_path / "run" / name) for name in names}
    display = Silent()
    assert train_experiment(sharing(experiment, SHARE), tmp_path / "run", display=display)
    assert not display.updates
    begun = weights(start)
    for name in names:
        for key, value in weights(tmp_path / "run" / name).items():
            mean = SHARE * begun[key] + (1 - SHARE) * trained[name][key]
            torch.testing.assert_close(value, mean)
            if torch.equal(trained[name][key], begun[key]):
                assert torch.equal(value, begun[key]), "what is frozen stays, to the bit"
    assert taskaware.load(tmp_path / "run").provenance["start_share"] == SHARE


def test_what_is_frozen_keeps_even_the_sign_of_its_zeros(data: Path, start: Path, tmp_path: Path):
    model = taskaware.load(start)
    with torch.no_grad():
        dict(model.transformer.named_parameters())["encoder_norm.weight"].fill_(-0.0)
    model.save(tmp_path / "start")
    experiment = tune(data, tmp_path / "start", tmp_path / "run", trains="decoder")
    assert train_experiment(sharing(experiment, SHARE), tmp_path / "run", display=Silent())
    assert bool(weights(tmp_path / "run")["encoder_norm.weight"].signbit().all())


def test_a_share_changes_no_update_and_is_taken_back_to_the_bit(
    data: Path, start: Path, tmp_path: Path
):
    experiment = tune(data, start, tmp_path / "run")
    shared = sharing(experiment, SHARE)
    assert train_experiment(shared, tmp_path / "at_once", display=Silent())
    before = weights(tmp_path / "run")
    assert train_experiment(shared, tmp_path / "run", display=Silent())
    assert_same_models(tmp_path / "run", tmp_path / "at_once")
    assert train_experiment(experiment, tmp_path / "run", display=Silent())
    for name, value in weights(tmp_path / "run").items():
        assert torch.equal(value, before[name])


def test_a_task_network_that_the_start_has_not_begins_where_it_modulates_nothing(
    data: Path, start: Path, tmp_path: Path
):
    experiment = tune(data, start, tmp_path / "run", cue="explicit")
    trained = taskaware.load(tmp_path / "run").task_embeddings
    assert train_experiment(sharing(experiment, SHARE), tmp_path / "run", display=Silent())
    mixed = taskaware.load(tmp_path / "run").task_embeddings
    neutral = neutral_task_embedding(experiment.model)
    for name, value in mixed.items():
        torch.testing.assert_close(value, SHARE * neutral + (1 - SHARE) * trained[name].cpu())


def test_parts_that_began_at_random_stay_as_they_were_trained(
    data: Path, start: Path, tmp_path: Path
):
    experiment = tune(data, start, tmp_path / "run", cue="implicit")
    trained = weights(tmp_path / "run")
    assert train_experiment(sharing(experiment, SHARE), tmp_path / "run", display=Silent())
    mixed = weights(tmp_path / "run")
    own = [name for name in trained if name.startswith("task_network.")]
    assert own
    assert all(torch.equal(mixed[name], trained[name]) for name in own)
    assert not torch.equal(mixed["token_embedding.weight"], trained["token_embedding.weight"])


def test_what_a_share_costs_and_gains_is_said_task_by_task(data: Path, start: Path, tmp_path: Path):
    experiment = tune(data, start, tmp_path / "run")
    display = Silent()
    assert train_experiment(sharing(experiment, SHARE), tmp_path / "run", display=display)
    (said,) = [note for note in display.notes if "`start.share` is 0.25" in note]
    (line,) = [line for line in figures(tmp_path / "run") if line.get("about") == "start.share"]
    assert line["text"] == said
    last = [line for line in figures(tmp_path / "run") if line["kind"] == "validation"]
    best = min(last, key=lambda line: sum(line["values"].values()))
    for name, loss in best["values"].items():
        assert line["figures"][f"{name} trained"] == pytest.approx(loss, abs=1e-4)
        assert line["figures"][f"{name} mixed"] != pytest.approx(loss, abs=1e-4)


@pytest.mark.parametrize(
    ("share", "has_start", "trains", "message"),
    [
        (1.0, True, "everything", "start.share must be at least 0 and below 1"),
        (-0.1, True, "everything", "start.share must be at least 0 and below 1"),
        (0.5, False, "everything", "start.model must be set where `start.share` is above 0"),
        (0.5, True, "task_embedding", "start.share must be 0 where `start.trains` is"),
    ],
)
def test_a_share_that_cannot_be_is_refused(
    share: float, has_start: bool, trains: Trains, message: str, data: Path, start: Path, tmp_path
):
    experiment = tiny_experiment(data, start=start if has_start else None)
    settings = replace(experiment.start, trains=trains, share=share)
    with pytest.raises(ExperimentError, match=message):
        train_experiment(replace(experiment, start=settings), tmp_path / "run", display=Silent())
    assert not (tmp_path / "run").exists()
