"""What a run says of the model that it starts from."""

from __future__ import annotations

from pathlib import Path

import pytest

from conftest import TASKS
from taskaware.model.conditioning_settings import ConditioningSettings
from taskaware.model.settings import ModelSettings
from taskaware.run.experiment import Experiment
from taskaware.run.settings import DataSettings, StartSettings
from taskaware.run.start import Start, start_remarks
from tiny_models import random_model


@pytest.mark.parametrize(("known", "words"), [(1, "the task of old"), (2, "the 2 tasks of old")])
def test_a_new_task_is_said_to_be_added_to_as_many_as_there_are(known: int, words: str):
    start = Start(tasks=TASKS[:known], tensors={}, vocabulary_sha256="", features="")
    experiment = Experiment(
        name="new", data=DataSettings(folder=Path("data")), start=StartSettings(model=Path("old"))
    )
    (remark,) = start_remarks(start, TASKS[: known + 1], random_model().transformer, experiment)
    assert remark.text == f"task {TASKS[known].name}: new, added to {words}"


@pytest.mark.parametrize("bottleneck", [0, 8])
def test_bottlenecks_that_are_named_and_not_there_are_told_of(bottleneck: int):
    model = random_model().transformer
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith("task_network."))
    experiment = Experiment(
        name="new",
        data=DataSettings(folder=Path("data")),
        model=ModelSettings(conditioning=ConditioningSettings(bottleneck=bottleneck)),
        start=StartSettings(model=Path("old"), trains="task_network_and_bottlenecks"),
    )
    start = Start(tasks=TASKS, tensors={}, vocabulary_sha256="", features="")
    (remark,) = start_remarks(start, TASKS, model, experiment)
    assert ("the model has no bottlenecks" in remark.text) == (bottleneck == 0)
