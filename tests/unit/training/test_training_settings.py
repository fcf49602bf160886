"""How often a training validates and saves where the experiment does not say, and its numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest

from taskaware.run.experiment import Experiment
from taskaware.run.settings import DataSettings, StartSettings
from taskaware.training.settings import LearningSettings, RetentionSettings, TrainingSettings


@pytest.mark.parametrize(
    ("updates", "interval"), [(1, 1), (19, 1), (400, 20), (5000, 250), (100_000, 2000)]
)
def test_a_training_validates_and_saves_twenty_times_or_every_2000_updates(
    updates: int, interval: int
):
    settings = TrainingSettings(updates=updates)
    assert settings.validation_interval == settings.checkpoint_interval == interval


def test_a_number_is_taken_as_it_is():
    settings = TrainingSettings(updates=400, validate_every=0, save_every=7)
    assert (settings.validation_interval, settings.checkpoint_interval) == (0, 7)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("num_threads", 1025),
        ("seed", -1),
        ("seed", 2**63),
        ("patience", -1),
        ("save_every", -1),
        ("validate_every", -1),
    ],
)
def test_a_number_that_cannot_be_is_refused_by_name(field: str, value: int):
    assert [name for name, _ in TrainingSettings(**{field: value}).validate()] == [field]


@pytest.mark.parametrize(
    ("learning", "start", "named"),
    [
        ("meta", StartSettings(), "learning.strategy = 'meta'"),
        (
            "joint",
            StartSettings(retention=RetentionSettings(method="ewc")),
            "start.retention.method = 'ewc'",
        ),
        ("joint", StartSettings(trains="adapters"), "start.trains = 'adapters'"),
    ],
)
def test_a_model_is_not_split_where_whole_weights_are_needed(
    learning: Literal["joint", "meta"], start: StartSettings, named: str
):
    experiment = Experiment(
        name="split",
        data=DataSettings(folder=Path("data")),
        start=start,
        learning=LearningSettings(strategy=learning),
        training=TrainingSettings(sharded=True),
    )
    assert any(named in text for name, text in experiment.validate() if name == "training")
