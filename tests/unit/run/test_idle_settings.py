"""A setting that has no effect beside the others is remarked on; one that has is not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from conftest import ASR, MT, TASKS
from taskaware import settings
from taskaware.run.experiment import Experiment
from taskaware.run.idle_settings import idle_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from taskaware.types import Task


EXPERIMENTS = Path(__file__).resolve().parents[3] / "experiments"


def about(*overrides: str, tasks: Sequence[Task] = TASKS, validates: bool = True) -> list[str]:
    experiment = settings.load(
        Experiment, None, ["name=x", "data.folder=data", "training.updates=5", *overrides]
    )
    remarks = idle_settings(experiment, trained=tasks, tasks=tasks, validates=validates)
    assert all(f"`{remark.about} = " in remark.text for remark in remarks)
    return [remark.about for remark in remarks]


@pytest.mark.parametrize("preset", ["", "tiny", "multi_modality"])
@pytest.mark.parametrize("tasks", [TASKS, (MT,), (ASR,)], ids=["all", "text", "speech"])
@pytest.mark.parametrize("cue", ["none", "explicit", "implicit", "target_tag"])
def test_defaults_and_presets_are_not_remarked_on(preset: str, tasks, cue: str):
    chosen = [f"model.preset={preset}"] if preset else []
    assert about(f"model.conditioning.cue={cue}", *chosen, tasks=tasks, validates=False) == []


IDLE = [
    (["batching.temperature=5"], ()),
    (["batching.task_weights={ asr_en = 1 }"], ()),
    (["batching.temperature=5"], ["batching.mix=sampled", "batching.task_weights={ asr_en = 1 }"]),
    (["batching.examples_per_batch=3"], ["batching.strategy=dynamic"]),
    (["batching.max_tokens=100", "batching.max_frames=100"], ()),
    (["batching.prefetch=9"], ()),
    (["batching.cue_examples=3"], ["model.conditioning.cue=explicit"]),
    (["batching.cue_examples=3"], ["model.conditioning.derange_support=false"]),
    (["augmentation.tempo_range=[0.9, 1.1]"], ()),
    (["augmentation.tempo_range=[0.9, 1.1]"], ["augmentation.share=1", "augmentation.tempo=false"]),
    (["augmentation.max_time_mask_frames=20"], ()),
    (["augmentation.max_frequency_mask_bins=20"], ["augmentation.share=1"]),
    (["model.conditioning.acts_by=prepend"], ["model.conditioning.cue=none"]),
    (["model.conditioning.d_task=64"], ["model.conditioning.cue=explicit"]),
    (
        ["model.conditioning.gradient_reaches_shared_layers=true"],
        ["model.conditioning.cue=explicit"],
    ),
    (["objective.film_penalty=1"], ["model.conditioning.acts_by=prepend"]),
    (["learning.inner_steps=2"], ()),
    (["start.retention.weight=2", "start.retention.temperature=3"], ()),
    (["start.retention.temperature=3"], ["start.model=m", "start.retention.method=replay"]),
    (["start.retention.memory_examples=3"], ["start.model=m", "start.retention.method=none"]),
    (["optimiser.beta2=0.5"], ["optimiser.algorithm=sgd"]),
    (["training.support_examples=5"], ["model.conditioning.cue=none"]),
    (["decoding.length_penalty=1"], ["decoding.beam=1"]),
]


@pytest.mark.parametrize(("idle", "beside"), IDLE, ids=str)
def test_a_setting_that_another_turns_off_is_remarked_on(idle: list[str], beside: list[str]):
    assert about(*idle, *beside) == [override.partition("=")[0] for override in idle]


@pytest.mark.parametrize(
    "overrides",
    [
        ["batching.mix=sampled", "batching.task_weights={ asr_en = 1 }"],
        ["batching.mix=sampled", "batching.temperature=5"],
        ["batching.strategy=dynamic", "batching.max_tokens=100", "batching.max_frames=100"],
        ["batching.num_workers=2", "batching.prefetch=9"],
        ["batching.cue_examples=3"],
        ["batching.cue_examples=0", "model.conditioning.cue=none"],
        ["augmentation.share=1", "augmentation.tempo_range=[0.9, 1.1]"],
        ["learning.strategy=meta", "learning.inner_steps=2"],
        ["start.model=m", "start.retention.method=ewc", "start.retention.memory_examples=3"],
        ["model.preset=tiny", "model.conditioning.d_task=32"],
        ["objective.ctc_weight=0.5", "objective.film_penalty=1"],
        ["training.selection=score", "training.validation_examples=3"],
    ],
    ids=str,
)
def test_a_setting_that_has_an_effect_is_not_remarked_on(overrides: list[str]):
    assert about(*overrides) == []


def test_settings_of_speech_are_remarked_on_where_there_is_none():
    speech = [
        "augmentation.share=1",
        "augmentation.num_time_masks=1",
        "augmentation.max_time_mask_frames=9",
        "objective.ctc_weight=1",
        "decoding.ctc_weight=0.3",
        "model.cnn_channels=5",
    ]
    found = about(*speech, tasks=(MT,))
    assert set(found) == {
        *("augmentation.share", "augmentation.num_time_masks"),
        *("objective.ctc_weight", "decoding.ctc_weight", "model.cnn_channels"),
    }
    assert about(*speech) == []


def test_an_encoder_of_texts_is_remarked_on_where_no_task_has_a_text_source():
    asked = ["model.num_text_encoder_layers=1"]
    assert about(*asked, tasks=(ASR,)) == ["model.num_text_encoder_layers"]
    assert about(*asked) == []


def test_settings_of_validations_are_remarked_on_where_there_are_none():
    asked = ["training.selection=score", "training.validate_every=2"]
    assert set(about(*asked, validates=False)) == {
        "training.selection",
        "training.validate_every",
    }


@pytest.mark.parametrize("path", sorted(EXPERIMENTS.glob("*.toml")), ids=lambda path: path.stem)
def test_no_experiment_of_ours_sets_what_has_no_effect(path: Path):
    experiment = settings.load(Experiment, path)
    assert idle_settings(experiment, trained=TASKS, tasks=TASKS, validates=True) == []
