"""What a run will not train on or validate with, counted and reported before it begins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskaware.data.batches.reader import TrainingReader
from taskaware.data.prepared.length_limits import LeftOut, count_left_out
from taskaware.errors import DataError, ExperimentError, nearest
from taskaware.run.idle_settings import Remark, idle_settings
from taskaware.run.rates import odd_rate
from taskaware.run.settings import DataSettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from taskaware.data.batches.settings import BatchingSettings
    from taskaware.data.prepared.folder import PreparedData
    from taskaware.data.prepared.length_limits import ChangedLengths
    from taskaware.run.experiment import Experiment
    from taskaware.types import Task

_RETENTION_WITH_MEMORY = ("replay", "ewc")


def check_run(
    experiment: Experiment, data: PreparedData, *, trained: Sequence[Task], tasks: Sequence[Task]
) -> tuple[Remark, ...]:
    """Return what the user should know of what will be trained and validated.

    Of the data, the index of every training shard is read, and nothing else.

    Args:
        experiment: The settings.
        data: What to train on.
        trained: The tasks to train.
        tasks: All tasks of the model.

    Raises:
        ExperimentError: The dev split that is asked for does not exist.
        DataError: The split to train on does not exist; or a task has no training example, or none
            within the limits of length.
    """
    drawn = _drawn(experiment, trained)
    remarks = [*_tasks_not_drawn(trained, drawn), *_lengths(experiment, data, drawn)]
    if experiment.start.retention.method in _RETENTION_WITH_MEMORY:
        _lengths(experiment, data, [t for t in tasks if t not in trained], to="be remembered")
    remarks += _validation(experiment, data, trained)
    remarks += odd_rate(experiment)
    remarks += idle_settings(
        experiment,
        trained=trained,
        tasks=tasks,
        validates=any(_num_dev_examples(experiment, data, task) for task in trained),
    )
    return tuple(remarks)


def _drawn(experiment: Experiment, trained: Sequence[Task]) -> list[Task]:
    """Return the tasks that updates are drawn of."""
    batching = experiment.batching
    if batching.mix != "sampled" or not batching.task_weights:
        return list(trained)
    return [task for task in trained if batching.task_weights.get(task.name)]


def _tasks_not_drawn(trained: Sequence[Task], drawn: Sequence[Task]) -> Iterator[Remark]:
    for task in trained:
        if task not in drawn:
            yield Remark(
                about="batching.task_weights",
                task=task.name,
                text=f"task {task.name}: never trained, because `batching.task_weights` gives it "
                "no weight; give it one, or leave it out of `data.tasks`",
            )


def _lengths(
    experiment: Experiment, data: PreparedData, tasks: Sequence[Task], *, to: str = "be trained"
) -> list[Remark]:
    """Count what the limits of length leave out of tasks; refuse where nothing is left of one."""
    split_name, augmentation = experiment.data.train_split, experiment.augmentation
    split = data.split(split_name)
    changed: dict[str, ChangedLengths] = {}
    if augmentation.changes_signal:
        reader = TrainingReader(split, augmentation, seed=experiment.training.seed)
        speech = [task.name for task in tasks if task.modality.is_recording]
        changed = dict.fromkeys(speech, reader.changed_lengths)
    parts = split.read_lengths({task.name for task in tasks})
    counted = count_left_out(parts, experiment.batching, changed_lengths=changed)
    remarks: list[Remark] = []
    for task in tasks:
        if task.name not in counted:
            having = [each.name for each in data.tasks if split.num_examples(each.name)]
            others = f"{', '.join(having)} have some" if having else "no task has any"
            raise DataError(
                f"task '{task.name}' must have examples in the split '{split_name}' of "
                f"{data.folder} to {to}, but has none; {others}: name the tasks to train with "
                "`data.tasks`, or prepare data for it"
            )
        _refuse_where_nothing_is_left(task, counted[task.name], experiment.batching, to=to)
        frames = task.modality.is_recording and not split.is_encoded(task)
        _refuse_beyond_positions(experiment, task, counted[task.name], in_frames=frames)
        hop_ms = data.hop_ms if task.modality.is_recording else None
        remarks += _left_out(task, counted[task.name], experiment.batching, hop_ms)
    return remarks


def _refuse_where_nothing_is_left(
    task: Task, found: LeftOut, batching: BatchingSettings, *, to: str
) -> None:
    if found.num_left_out == found.num_examples:
        raise DataError(
            f"task '{task.name}' must have training examples of at most {batching.max_source:,} "
            f"source and {batching.max_target:,} target positions to {to}, but all "
            f"{found.num_examples:,} are longer (the shortest has {found.shortest[0]:,} and "
            f"{found.shortest[1]:,}); raise `batching.max_source` or `batching.max_target`, or "
            "prepare shorter examples"
        )


def _refuse_beyond_positions(
    experiment: Experiment, task: Task, found: LeftOut, *, in_frames: bool
) -> None:
    """Refuse examples that are longer than the positions that the model has learnt."""
    model, batching = experiment.model, experiment.batching
    longest_source = model.of_encoder.longest_source(in_frames=in_frames)
    if task.modality.is_text:
        longest_source = model.longest_text()
    limits: dict[str, tuple[int | None, int, int]] = {
        "max_source": (longest_source, batching.max_source, 0),
        "max_target": (model.longest_target, batching.max_target, 1),
    }
    for name, (limit, allowed, side) in limits.items():
        longest = min(found.longest[side], allowed)
        if limit is not None and longest > limit:
            raise DataError(
                f"`batching.{name}` must be at most {limit:,}, as the model has learnt no more "
                f"positions, but is {allowed:,}, and task '{task.name}' has examples of "
                f"{longest:,}; with batching.{name}={limit} they are left out"
            )


def _left_out(
    task: Task, found: LeftOut, batching: BatchingSettings, hop_ms: float | None
) -> Iterator[Remark]:
    """Yield a remark for each limit that leaves something out."""
    unit = task.modality.unit

    def remark(name: str, counts: tuple[int, int], limit: str, longest: int) -> Remark:
        number, positions = counts
        figures: dict[str, float] = {
            "left_out": number,
            "examples": found.num_examples,
            "longest": longest,
        }
        share = f"{100 * number / found.num_examples:.2g}%"
        if hop_ms is not None:
            hours, of_hours = (n * hop_ms / 3.6e6 for n in (positions, found.num_positions))
            figures |= {"hours_left_out": hours, "hours": of_hours}
            share += f", {hours:.2f} of {of_hours:.2f} hours"
        return Remark(
            about=f"batching.{name}",
            task=task.name,
            figures=figures,
            text=f"task {task.name}: {number:,} of {found.num_examples:,} training examples "
            f"({share}) are left out, because they are longer than `batching.{name}` ({limit}); "
            f"`batching.{name}={longest}` trains on all",
        )

    if found.long_sources[0]:
        limit = f"{batching.max_source:,} {unit}"
        if hop_ms is not None:
            limit += f", {batching.max_source * hop_ms / 1000:.1f} s"
        yield remark("max_source", found.long_sources, limit, found.longest[0])
    if found.long_targets[0]:
        limit = f"{batching.max_target:,} pieces of the target"
        yield remark("max_target", found.long_targets, limit, found.longest[1])
    if found.num_left_out_when_changed:
        number = found.num_left_out_when_changed
        yield Remark(
            about="batching.max_source",
            task=task.name,
            figures={"left_out_when_changed": number, "examples": found.num_examples},
            text=f"task {task.name}: about {number:,} of {found.num_examples:,} training examples "
            "are left out of each epoch besides, because augmentation makes them longer than "
            f"`batching.max_source` ({batching.max_source:,} {unit}); raise it to train on them",
        )


def _num_dev_examples(experiment: Experiment, data: PreparedData, task: Task) -> int:
    name = experiment.data.dev_split
    return data.split(name).num_examples(task.name) if name in data.split_names else 0


def _validation(
    experiment: Experiment, data: PreparedData, trained: Sequence[Task]
) -> Iterator[Remark]:
    """Yield what is not validated; refuse a dev split that does not exist."""
    name, settings = experiment.data.dev_split, experiment.training
    splits, about = ", ".join(data.split_names), "data.dev_split"
    if name not in data.split_names and name != DataSettings.dev_split:
        raise ExperimentError(
            f"`data.dev_split` must be one of {splits}, the splits of {data.folder}, but is "
            f"'{name}'{nearest(name, data.split_names)}"
        )
    without = "nothing is validated, and the last weights count as the best"
    if name not in data.split_names:
        yield Remark(
            about=about,
            text=f"there is no split '{name}' in {data.folder} ({splits}): {without}; name "
            "another with `data.dev_split`, or prepare one with `taskaware prepare --dev`",
        )
        return
    if name == experiment.data.train_split:
        yield Remark(
            about=about,
            text=f"`data.dev_split` is '{name}', the split that is trained on: validations do not "
            "show how the model does on new examples",
        )
    counts = {task.name: _num_dev_examples(experiment, data, task) for task in trained}
    missing = [task for task, count in counts.items() if not count]
    if missing:
        is_all = len(missing) == len(counts)
        effect = without if is_all else "not validated, and no part of what `best` is chosen by"
        yield Remark(
            about=about,
            figures={"tasks": len(missing)},
            text=f"without examples in the split '{name}': {', '.join(missing)}: {effect}; prepare "
            "dev examples for them, or leave them out of `data.tasks`",
        )
    used = {task: min(count, settings.validation_examples) for task, count in counts.items()}
    total, number = sum(counts.values()), sum(used.values())
    if number < total:
        yield Remark(
            about="training.validation_examples",
            figures={"validated": number, "examples": total},
            text=f"validations use {number:,} of {total:,} dev examples, at most "
            f"{settings.validation_examples:,} of each task, evenly spread; "
            f"`training.validation_examples={max(counts.values())}` uses all",
        )
