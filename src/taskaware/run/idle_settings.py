"""Settings of an experiment that have no effect, because another turns off what they are for."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from taskaware.settings.toml_text import toml_value

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from taskaware.run.experiment import Experiment
    from taskaware.types import Task


@dataclass(frozen=True, kw_only=True)
class Remark:
    """Something that the user should know before a run is trained, and can change.

    Attributes:
        about: The setting that it is about, for example ``"batching.max_source"``.
        text: One line: what is, why, and how to change it.
        task: The task that it is about, or empty.
        figures: The numbers in the text, by name.
    """

    about: str
    text: str
    task: str = ""
    figures: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class _Idle:
    """Fields of a section that have no effect.

    Attributes:
        section: The section's dotted name.
        names: Its fields.
        reason: Why, and what to change.
    """

    section: str
    names: tuple[str, ...]
    reason: str


def idle_settings(
    experiment: Experiment, *, trained: Sequence[Task], tasks: Sequence[Task], validates: bool
) -> list[Remark]:
    """Return a remark for each setting that was changed and has no effect.

    A value that turns something off is not remarked on, nor is a default.

    Args:
        experiment: The settings.
        trained: The tasks to train.
        tasks: All tasks of the model.
        validates: Whether there are dev examples.
    """
    found: dict[str, Remark] = {}
    idle = [
        *_batching(experiment, trained),
        *_augmentation(experiment, trained),
        *_model(experiment, tasks),
        *_learning(experiment, trained),
        *_course(experiment, validates=validates),
    ]
    for each in idle:
        section, defaults = _section(experiment, each.section)
        for name in each.names:
            value, about = getattr(section, name), f"{each.section}.{name}"
            if value and value != defaults[name]:
                shown = toml_value(list(value) if isinstance(value, tuple) else value)
                text = f"`{about} = {shown}` has no effect: {each.reason}"
                found.setdefault(about, Remark(about=about, text=text))
    return list(found.values())


def _section(experiment: Experiment, dotted: str) -> tuple[Any, dict[str, Any]]:
    """Return the settings of a section, and what its fields are where nobody sets them."""
    section: Any = experiment
    preset: Any = {}
    for part in dotted.split("."):
        section = getattr(section, part)
        if part == "model" and section.preset:
            preset = section.presets()[section.preset]
        elif preset:
            preset = preset.get(part, {})
    defaults = {
        each.name: each.default_factory()
        if each.default_factory is not dataclasses.MISSING
        else each.default
        for each in fields(section)
    }
    return section, {**defaults, **preset}


def _takes_frames(tasks: Sequence[Task]) -> bool:
    return any(not task.modality.is_text for task in tasks)


def _takes_speech(tasks: Sequence[Task]) -> bool:
    return any(task.modality.is_recording for task in tasks)


def _batching(experiment: Experiment, trained: Sequence[Task]) -> Iterator[_Idle]:
    batching = experiment.batching
    if batching.mix == "every_task":
        reason = (
            "`batching.mix` is 'every_task', which gives all tasks a batch; set it to 'sampled'"
        )
        yield _Idle("batching", ("task_weights", "temperature"), reason)
    elif batching.mix == "within_batches":
        reason = (
            "`batching.mix` is 'within_batches', which takes of each task as much as the data have"
        )
        yield _Idle("batching", ("task_weights", "temperature"), reason)
    elif batching.task_weights:
        yield _Idle("batching", ("temperature",), "`batching.task_weights` is set")
    if batching.strategy == "dynamic":
        reason = "`batching.strategy` is 'dynamic', which fills `max_tokens` and `max_frames`"
        yield _Idle("batching", ("examples_per_batch",), reason)
    else:
        reason = (
            "`batching.strategy` is 'static', which fills `examples_per_batch` (only the batches "
            "of validations follow it)"
        )
        yield _Idle("batching", ("max_tokens", "max_frames"), reason)
    if not _takes_frames(trained):
        yield _Idle("batching", ("max_frames",), "all sources are texts")
    if not batching.num_workers:
        reason = "`batching.num_workers` is 0, so that nothing is read ahead"
        yield _Idle("batching", ("prefetch",), reason)
    if not experiment.model.conditioning.looks_at_cue_examples:
        reason = (
            "an implicit task network alone looks at examples, and only with "
            "`model.conditioning.derange_support`"
        )
        yield _Idle("batching", ("cue_examples",), reason)


def _augmentation(experiment: Experiment, trained: Sequence[Task]) -> Iterator[_Idle]:
    augmentation = experiment.augmentation
    echo = ("echo_delay_range_ms", "echo_decay_range")
    if not _takes_speech(trained):
        yield _Idle("augmentation", ("share",), "no task that is trained has speech")
    if not _takes_frames(trained):
        names = ("num_time_masks", "num_frequency_masks")
        yield _Idle("augmentation", names, "all sources are texts")
    if not augmentation.share:
        reason = "`augmentation.share` is 0: no signal is changed"
        yield _Idle("augmentation", ("speed_range", "tempo_range", *echo), reason)
    for switch, names in (("speed", ("speed_range",)), ("tempo", ("tempo_range",)), ("echo", echo)):
        if not getattr(augmentation, switch):
            yield _Idle("augmentation", names, f"`augmentation.{switch}` is false")
    if not augmentation.num_time_masks:
        names = ("max_time_mask_frames", "max_time_mask_share")
        yield _Idle("augmentation", names, "`augmentation.num_time_masks` is 0")
    if not augmentation.num_frequency_masks:
        reason = "`augmentation.num_frequency_masks` is 0"
        yield _Idle("augmentation", ("max_frequency_mask_bins",), reason)


def _model(experiment: Experiment, tasks: Sequence[Task]) -> Iterator[_Idle]:
    conditioning = experiment.model.conditioning
    section, cue = "model.conditioning", f"`model.conditioning.cue` is '{conditioning.cue}'"
    if not conditioning.has_task_network:
        names = ("acts_by", "film_scope", "film_on", "film_places", "bottleneck")
        yield _Idle(section, names, f"{cue}: there is no task embedding")
    if conditioning.cue != "implicit":
        reason = f"{cue}: no task network looks at examples"
        names = ("d_task", "d_task_ff", "num_task_heads", "implicit_reads")
        names += ("gradient_reaches_shared_layers",)
        yield _Idle(section, names, reason)
    adapters = experiment.model.adapters
    names = tuple(name for name in ("rank", "scale", "dropout") if name not in adapters.used)
    reason = f"`model.adapters.method` is '{adapters.method}', which does not look at it"
    yield _Idle("model.adapters", names, reason)
    if adapters.method == "none":
        yield _Idle("model.adapters", ("where",), reason)
    if not _takes_frames(tasks):
        yield _Idle("model", ("num_features",), "all sources are texts")
    if not any(task.modality.is_text for task in tasks):
        yield _Idle("model", ("num_text_encoder_layers",), "no task has a text source")
    if not _takes_speech(tasks):
        yield _Idle("model", ("num_cnn_layers", "cnn_channels"), "no task has speech")


def _learning(experiment: Experiment, trained: Sequence[Task]) -> Iterator[_Idle]:
    conditioning, retention = experiment.model.conditioning, experiment.start.retention
    if not conditioning.has_task_network or conditioning.acts_by != "film":
        yield _Idle("objective", ("film_penalty",), "there is no FiLM")
    if all(task.kind != "asr" for task in trained):
        reason = "no task that is trained is of the kind 'asr'"
        yield _Idle("objective", ("ctc_weight",), reason)
        yield _Idle("decoding", ("ctc_weight",), reason)
    if experiment.learning.strategy != "meta":
        names = ("inner_learning_rate", "inner_steps", "second_order")
        reason = f"`learning.strategy` is '{experiment.learning.strategy}'; set it to 'meta'"
        yield _Idle("learning", names, reason)
    reason = f"`start.retention.method` is '{retention.method}'"
    if retention.method == "none":
        yield _Idle("start.retention", ("weight",), reason)
    if retention.method in ("none", "distillation"):
        yield _Idle("start.retention", ("memory_examples",), reason)
    if retention.method != "distillation":
        yield _Idle("start.retention", ("temperature",), reason)
    if experiment.optimiser.algorithm == "sgd":
        yield _Idle("optimiser", ("beta2", "epsilon"), "`optimiser.algorithm` is 'sgd'")
    if not conditioning.has_task_network:
        reason = "there is no task network"
        yield _Idle("optimiser", ("task_network_weight_decay",), reason)
    if conditioning.cue != "implicit":
        reason = f"`model.conditioning.cue` is '{conditioning.cue}'"
        yield _Idle("optimiser", ("implicit_rate",), reason)
    if not _takes_frames(trained):
        yield _Idle("optimiser", ("frontend_rate",), "no task has speech or features as its source")


def _course(experiment: Experiment, *, validates: bool) -> Iterator[_Idle]:
    if not experiment.model.conditioning.has_task_network:
        yield _Idle("training", ("support_examples",), "there is no task network")
    if not validates:
        names = ("selection", "validation_examples", "validate_every")
        yield _Idle("training", names, "there are no dev examples")
    if experiment.decoding.beam == 1:
        yield _Idle("decoding", ("length_penalty",), "`decoding.beam` is 1: a single hypothesis")
