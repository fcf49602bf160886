"""From a study and a size to the jobs to do: one training and its scoring each.

A job's folder carries a digest of all that its numbers depend on (the experiment, the data, the
job that it starts from, the version of taskaware), so that what was done once is found again, by
another study too, and what has changed is done again beside it.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from taskaware.data.prepared.folder import PreparedData
from taskaware.errors import CheckpointError, DataError, ExperimentError, UserError, nearest
from taskaware.files import file_sha256
from taskaware.run import experiment as experiment_file
from taskaware.settings.typed import plain, to_mapping
from taskaware.study.settings import is_name
from taskaware.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from taskaware.run.experiment import Experiment
    from taskaware.study.settings import DataSource, RunSettings, SizeSettings, StudySettings

# Where an experiment trains all tasks of its data, which need not be there yet.
_TYPICAL_NUM_TASKS = 3
# Fields that change how fast or how talkative a run is, and not what it comes to.
_WITHOUT_EFFECT = {
    "training": ("num_threads", "log_every"),
    "data": ("folder",),
    "start": ("model",),
}


@dataclass(frozen=True, kw_only=True, eq=False)  # a job is itself: its parts cannot be hashed
class Job:
    """One run of one seed.

    Attributes:
        name: The run's name in the study.
        seed: Its seed.
        experiment: What to train; its tasks are final only when the data is there (``num_tasks``).
        num_tasks: The first so many tasks of the data; 0: those of the experiment.
        folder: The run's folder.
        start: The job whose model it starts from.
        data: The name of its data in the size.
        variants: Which of its models to score: ``model``, ``taskwise``, ``support-N``.
        split: The split to score.
    """

    name: str
    seed: int
    experiment: Experiment
    num_tasks: int
    folder: Path
    start: Job | None
    data: str
    variants: tuple[str, ...]
    split: str

    def result_path(self, variant: str) -> Path:
        """Where the scores of a variant stand, once they are complete."""
        return self.folder / "evaluation" / variant / self.split / "study.json"

    @property
    def work(self) -> float:
        """How much there is to do, in batches: what the time left is reckoned by."""
        training, learning = self.experiment.training, self.experiment.learning
        num_tasks = self.num_tasks or len(self.experiment.data.tasks) or _TYPICAL_NUM_TASKS
        together = num_tasks if self.experiment.batching.mix == "every_task" else 1
        return float(training.updates * learning.batches_per_task * together)

    def outputs_path(self, variant: str) -> Path:
        """Where its outputs stand; ``taskaware evaluate`` has a file of its own beside it."""
        return self.result_path(variant).with_name("study_outputs.jsonl")

    @property
    def is_trained(self) -> bool:
        """Whether the model is there, which training writes last of all."""
        return (self.folder / "model").is_dir() and (self.folder / "cost.json").is_file()

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left to do."""
        return self.is_trained and all(self.result_path(v).is_file() for v in self.variants)

    @property
    def title(self) -> str:
        """What a person calls it."""
        return f"{self.name}, seed {self.seed}"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All that a study of one size has to do.

    Attributes:
        study: The study.
        size_name: The size's name.
        size: The size.
        folder: Where its table goes.
        data_folders: Prepared folders by the name of the data.
        jobs: In an order in which each comes after the one that it starts from: seed by seed.
    """

    study: StudySettings
    size_name: str
    size: SizeSettings
    folder: Path
    data_folders: Mapping[str, Path]
    jobs: tuple[Job, ...]

    def job(self, run: str, seed: int) -> Job:
        """Return the job of a run and a seed."""
        return next(job for job in self.jobs if (job.name, job.seed) == (run, seed))


def make_plan(
    study: StudySettings,
    study_path: Path,
    size_name: str,
    root: Path,
    *,
    seeds: Sequence[int] = (),
    split: str = "",
    overrides: Sequence[str] = (),
) -> Plan:
    """Return what a study of one size has to do.

    Args:
        study: The study.
        study_path: Its file: experiment files are named relative to it.
        size_name: One of its sizes.
        root: The folder of all studies: ``data``, ``store`` and a folder for each table.
        seeds: In place of the size's own.
        split: In place of the size's own.
        overrides: Fields over all others, for all runs.

    Raises:
        UserError: The study has no such size.
        ExperimentError: A run's fields do not make an experiment, or not the study's.
    """
    if size_name not in study.sizes:
        raise UserError(
            f"the size of {study_path} must be one of {', '.join(study.sizes)}, but is "
            f"'{size_name}'{nearest(size_name, study.sizes)}"
        )
    if split and not is_name(split):
        raise UserError(f"the split must be a word or words without a slash, but is '{split}'")
    if len(set(seeds)) < len(seeds):
        raise UserError(
            f"the seeds must be different numbers, but are {', '.join(map(str, seeds))}"
        )
    size = study.sizes[size_name]
    size = replace(size, seeds=tuple(seeds) or size.seeds, split=split or size.split)
    data_folders = {name: data_folder(source, root) for name, source in size.data.items()}
    jobs = _jobs(study, size, study_path.parent / size.experiment, root, data_folders, overrides)
    # What was asked for beside the study's own has a table of its own.
    asked = {"overrides": list(overrides), "seeds": list(seeds)}
    apart = [split] * (split not in ("", study.sizes[size_name].split))
    apart += [_digest(asked)] * any(asked.values())
    return Plan(
        study=study,
        size_name=size_name,
        size=size,
        folder=root / "-".join([study.name, size_name, *apart]),
        data_folders=data_folders,
        jobs=jobs,
    )


def _jobs(
    study: StudySettings,
    size: SizeSettings,
    base: Path,
    root: Path,
    data_folders: Mapping[str, Path],
    overrides: Sequence[str],
) -> tuple[Job, ...]:
    """Return a job for every run and seed; ``base`` is the experiment file of all."""
    jobs: dict[tuple[str, int], Job] = {}
    for seed in size.seeds:
        for run in study.runs:
            start = jobs[run.start, seed] if run.start else None
            own: dict[str, Any] = {"data.folder": data_folders[run.data], "training.seed": seed}
            own |= {"start.model": start.folder} if start else {}
            fields = [
                *(f"{field}={value}" for field, value in own.items()),
                *size.overrides,
                *size.groups.get(run.group, ()),
                *run.overrides,
                *overrides,
            ]
            experiment = experiment_file.load(base, fields, from_start=start is None)
            _require_own_fields(run.name, experiment, own)
            jobs[run.name, seed] = _job(
                run,
                seed,
                experiment,
                start=start,
                data_key=_data_key(size.data[run.data], data_folders[run.data]),
                variants=_variants(study, run),
                split=size.split,
                store=root / "store",
            )
    return tuple(jobs.values())


def _require_own_fields(run: str, experiment: Experiment, own: Mapping[str, object]) -> None:
    """Require that no override changes what the study itself decides for a run.

    The data and the start stand in the digest of a run's folder by what they are, not by their
    paths: with others, its numbers would be taken for those of the study's own.

    Raises:
        ExperimentError: One does.
    """
    for field, value in own.items():
        section, _, name = field.partition(".")
        found = getattr(getattr(experiment, section), name)
        if found != value:
            raise ExperimentError(
                f"the run '{run}' must leave {field} to the study, which says '{plain(value)}', "
                f"but an override says '{plain(found)}': leave it out; data, start and seeds have "
                "fields of their own in the study file"
            )


def finished_seeds(plan: Plan) -> tuple[int, ...]:
    """Return the seeds of which every job is complete."""
    return tuple(
        seed
        for seed in plan.size.seeds
        if all(job.is_complete for job in plan.jobs if job.seed == seed)
    )


def data_folder(source: DataSource, root: Path) -> Path:
    """Return the prepared folder of a data source, which need not be there yet."""
    if source.folder is not None:
        return source.folder
    return root / "data" / f"embedded-{_digest(_embedded_key(source))}" / "prepared"


def _job(
    run: RunSettings,
    seed: int,
    experiment: Experiment,
    *,
    start: Job | None,
    data_key: str,
    variants: tuple[str, ...],
    split: str,
    store: Path,
) -> Job:
    if run.tasks:
        experiment = replace(experiment, data=replace(experiment.data, tasks=run.tasks))
    key = _digest(
        {
            "experiment": _what_matters(experiment),
            "num_tasks": run.num_tasks,
            "data": data_key,
            "start": start.folder.name.rpartition("-")[2] if start else _start_key(experiment),
            "version": __version__,
        }
    )
    # Another study may have trained the same under another name.
    found = sorted(store.glob(f"*-seed{seed}-{key}"))
    folder = found[0] if found else store / f"{run.name}-seed{seed}-{key}"
    return Job(
        name=run.name,
        seed=seed,
        experiment=replace(experiment, name=folder.name),
        num_tasks=run.num_tasks,
        folder=folder,
        start=start,
        data=run.data,
        variants=variants,
        split=split,
    )


def _variants(study: StudySettings, run: RunSettings) -> tuple[str, ...]:
    asked = [row.which for row in study.rows if run.name in row.run_names]
    tried = [f"support-{number}" for number in run.support_examples]
    return tuple(dict.fromkeys(["model", *asked, *tried]))


def _what_matters(experiment: Experiment) -> dict[str, Any]:
    mapping = to_mapping(experiment)
    del mapping["name"]
    for section, names in _WITHOUT_EFFECT.items():
        for name in names:
            del mapping[section][name]
    return mapping


def _embedded_key(source: DataSource) -> dict[str, Any]:
    return to_mapping(replace(source, folder=None, how=""))


def _data_key(source: DataSource, folder: Path) -> str:
    """Return what stands for the data: its recipe where the study makes it, else its contents.

    Raises:
        DataError: The folder is not there; the message says how it is made.
    """
    if source.embedded is not None:
        return _digest(_embedded_key(source))
    try:
        return PreparedData.open(folder).fingerprint
    except DataError as error:
        raise DataError(f"{error}\n{source.how}".rstrip()) from error


def _start_key(experiment: Experiment) -> str:
    """Return what stands for a model from outside the study that a run starts from.

    Raises:
        CheckpointError: It is not there.
    """
    model = experiment.start.model
    if model is None:
        return ""
    found = [folder for folder in (model / "model", model) if (folder / "model.json").is_file()]
    if not found:
        raise CheckpointError(
            f"{model} must be a model that the study starts from, but there is none: import or "
            "train it first"
        )
    return _digest([file_sha256(found[0] / name) for name in ("model.json", "model.safetensors")])


def _digest(content: Any) -> str:
    text = json.dumps(content, sort_keys=True, default=os.fspath)
    return hashlib.sha256(text.encode()).hexdigest()[:10]
