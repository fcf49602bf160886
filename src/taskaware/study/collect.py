"""From the files that the jobs left to what the study found."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import torch

from taskaware.data.prepared.folder import PreparedData
from taskaware.errors import counted
from taskaware.evaluation import embeddings as embeddings_room
from taskaware.evaluation.embedding_points import EmbeddingPoints
from taskaware.evaluation.forgetting import average_forgetting, backward_transfer
from taskaware.evaluation.machine import processor_name
from taskaware.evaluation.metrics import (
    Score,
    signatures,
    target_language,
    warnings,
)
from taskaware.evaluation.significance import paired_by_id
from taskaware.run.log import read_log
from taskaware.study.job_files import read_cost, read_outputs, read_scores
from taskaware.study.plan import finished_seeds
from taskaware.study.results import (
    Cell,
    EmbeddingFigure,
    ForgettingMatrix,
    LearningCurve,
    Row,
    StudyResults,
)
from taskaware.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from taskaware.study.job_files import Cost, Scores, TaskScores
    from taskaware.study.plan import Job, Plan
    from taskaware.study.settings import EmbeddingsSettings, MatrixSettings, RowSettings

_TASK_NETWORK_PART = "task network"


@dataclass(frozen=True)
class _Scored:
    """The scores of one variant of one job, by task."""

    job: Job
    variant: str

    @cached_property
    def content(self) -> Scores:
        return read_scores(self.job, self.variant)

    @cached_property
    def results(self) -> dict[str, TaskScores]:
        return self.content.by_task

    @cached_property
    def outputs(self) -> dict[str, dict[str, tuple[str, str]]]:
        """Task -> example id -> reference and output."""
        return read_outputs(self.job, self.variant, self.content)


@dataclass
class _Collector:
    plan: Plan
    seeds: tuple[int, ...]
    scored: dict[tuple[str, int, str], _Scored] = field(default_factory=dict)

    def of(self, run: str, seed: int, variant: str) -> _Scored:
        key = (run, seed, variant)
        if key not in self.scored:
            self.scored[key] = _Scored(self.plan.job(run, seed), variant)
        return self.scored[key]

    def costs(self, runs: Sequence[str], seed: int) -> list[Cost]:
        """What runs cost, and what they start from; what several start from counts once."""
        jobs: dict[Path, Job] = {}
        for run in runs:
            job: Job | None = self.plan.job(run, seed)
            while job is not None:
                jobs[job.folder] = job
                job = job.start
        return [read_cost(folder) for folder in jobs]

    def num_updates(self, run: str) -> int:
        """Updates that led to a run's model, those of its starts included."""
        return sum(cost.updates for cost in self.costs([run], self.seeds[0]))

    # --- rows ---

    def row(self, row: RowSettings, tasks: Sequence[str]) -> Row:
        by_task = {task: row.run or row.runs.get(task, "") for task in tasks}
        first = self.of(row.run_names[0], self.seeds[0], row.which).content
        costs = [self.costs(row.run_names, seed) for seed in self.seeds]
        num_models = len(row.run_names) if row.runs else max(1, self._num_taskwise(row))
        cells: dict[str, Cell] = {}
        by_dataset: dict[str, dict[str, Cell]] = {}
        for task, run in by_task.items():
            if not run or task not in self.of(run, self.seeds[0], row.which).results:
                continue
            results = [self.of(run, seed, row.which).results[task] for seed in self.seeds]
            cells[task] = _cell(
                [result.main for result in results],
                confusion=[result.confusion_rate for result in results],
                p_values=self._significance(row, task),
            )
            for name in results[0].by_dataset:
                scores = [result.by_dataset[name][0] for result in results]
                by_dataset.setdefault(task, {})[name] = _cell(scores)
        silhouettes = self._silhouettes(row)
        return Row(
            label=row.label,
            cells=cells,
            by_dataset=by_dataset,
            against=row.against,
            num_models=num_models,
            parameters=first.parameters,
            task_parameters=first.parameters.get(_TASK_NETWORK_PART, 0),
            parameters_of_one_task=(
                sum(first.parameters.values()) if num_models > 1 else first.parameters_of_one_task
            ),
            num_bytes=self._num_bytes(row),
            updates=max(self.num_updates(run) for run in row.run_names),
            seconds=tuple(sum(cost.seconds for cost in of_seed) for of_seed in costs),
            decoding_seconds=self._decoding_seconds(row, by_task),
            peak_memory_mib=max(cost.peak_memory_mib for of_seed in costs for cost in of_seed),
            silhouettes=silhouettes,
            paper=row.paper,
            note=row.note,
        )

    def _num_taskwise(self, row: RowSettings) -> int:
        """Return of how many models a row of the best for each task is made."""
        if row.which != "taskwise":
            return 1
        return len(self.of(row.run, self.seeds[0], row.which).results)

    def _num_bytes(self, row: RowSettings) -> int | None:
        """Return what all the models of a row take on disk; ``None`` where one does not say."""
        scored = [self.of(run, self.seeds[0], row.which) for run in row.run_names]
        known = [one.content.num_bytes for one in scored if one.content.num_bytes is not None]
        return sum(known) if len(known) == len(scored) else None

    def _decoding_seconds(
        self, row: RowSettings, run_of_task: Mapping[str, str]
    ) -> tuple[float, ...]:
        """Return the time that all the row's tasks took, by seed; none where one is unknown."""
        totals: list[float] = []
        for seed in self.seeds:
            times = [
                self.of(run, seed, row.which).results[task].seconds
                for task, run in run_of_task.items()
                if run and task in self.of(run, seed, row.which).results
            ]
            known = [seconds for seconds in times if seconds is not None]
            if len(known) < len(times):
                return ()
            totals.append(sum(known))
        return tuple(totals)

    def _silhouettes(self, row: RowSettings) -> tuple[float, ...]:
        if not row.run or row.which != "model":
            return ()
        found = [self.of(row.run, seed, "model").content.silhouette for seed in self.seeds]
        known = [value for value in found if value is not None]
        return tuple(known) if len(known) == len(found) else ()

    def _significance(self, row: RowSettings, task: str) -> tuple[float, ...]:
        rival = next((r for r in self.plan.study.rows if r.label == row.against), None)
        if rival is None:
            return ()
        run, rival_run = row.run or row.runs[task], rival.run or rival.runs.get(task, "")
        if not rival_run:
            return ()
        p_values = []
        for seed in self.seeds:
            own = self.of(run, seed, row.which)
            other = self.of(rival_run, seed, rival.which)
            if task not in other.results:
                return ()
            ours, theirs = own.outputs[task], other.outputs[task]
            if ours.keys() != theirs.keys():
                return ()  # scored on other examples: there is nothing to pair
            references = [reference for reference, _ in ours.values()]
            language = target_language(self._data(run).task(task), references)
            in_order = {i: theirs[i] for i in ours}
            p_values.append(paired_by_id(own.results[task].main.metric, in_order, ours, language))
        return tuple(p_values)

    # --- forgetting ---

    def matrix(self, matrix: MatrixSettings, tasks: Sequence[str]) -> ForgettingMatrix:
        stages = [[self.of(run, seed, "model") for seed in self.seeds] for run in matrix.stages]
        shown = tuple(task for task in tasks if all(task in s[0].results for s in stages))
        points: list[dict[str, tuple[float, ...]]] = []
        confusion: list[dict[str, tuple[float, ...]]] = []
        for stage in stages:
            points.append({t: tuple(s.results[t].main.points for s in stage) for t in shown})
            rates = {t: [s.results[t].confusion_rate for s in stage] for t in shown}
            known = {t: tuple(r for r in of if r is not None) for t, of in rates.items()}
            confusion.append({t: r for t, r in known.items() if len(r) == len(stage)})
        trained = tuple(self._trained(run, shown) for run in matrix.stages)
        old = {task for stage in trained[:-1] for task in stage} - set(trained[-1])
        by_seed = [
            [{task: values[i] for task, values in stage.items()} for stage in points]
            for i in range(len(self.seeds))
        ]
        return ForgettingMatrix(
            label=matrix.label,
            stages=matrix.names or matrix.stages,
            trained=trained,
            tasks=shown,
            points=points,
            confusion=confusion,
            average_forgetting=tuple(average_forgetting(p, trained) for p in by_seed if old),
            backward_transfer=tuple(backward_transfer(p, trained) for p in by_seed if old),
        )

    def _trained(self, run: str, tasks: Sequence[str]) -> tuple[str, ...]:
        names = self.plan.job(run, self.seeds[0]).experiment.data.tasks
        return tuple(task for task in tasks if not names or task in names)

    # --- figures ---

    def embeddings(self, picture: EmbeddingsSettings) -> EmbeddingFigure | None:
        path = self.of(picture.run, self.seeds[0], "model").job.result_path("model")
        if not path.with_name("embeddings.npz").is_file():
            return None
        found = EmbeddingPoints.load(path.with_name("embeddings.npz"))
        kinds = {task.name: task.kind for task in self._data(picture.run).tasks}
        chosen = [
            i
            for i, task in enumerate(found.tasks)
            if not picture.kinds or kinds.get(task) in picture.kinds
        ]
        if not chosen:
            return None
        stacked = found.embeddings[chosen]
        names = tuple(found.tasks[i] for i in chosen)
        datasets = tuple(found.datasets[i] for i in chosen)
        inside = {}
        for task in dict.fromkeys(names):
            mine = [i for i, name in enumerate(names) if name == task]
            corpora = [datasets[i] for i in mine]
            if len(set(corpora)) > 1:
                inside[task] = embeddings_room.silhouette(stacked[mine], corpora)
        several = len(set(names)) > 1
        return EmbeddingFigure(
            title=picture.title,
            points=embeddings_room.project(stacked, seed=1),
            tasks=names,
            datasets=datasets,
            colour_by=picture.colour_by,
            task_silhouette=embeddings_room.silhouette(stacked, names) if several else None,
            dataset_silhouettes=inside,
        )

    def curves(self, run: str) -> list[LearningCurve]:
        logs = [
            [
                line
                for line in read_log(self.plan.job(run, seed).folder)
                if line["kind"] == "progress"
            ]
            for seed in self.seeds
        ]
        tasks = dict.fromkeys(task for line in logs[0] for task in line["losses"])
        found = []
        for task in tasks:
            by_seed = [
                {line["update"]: line["losses"][task] for line in log if task in line["losses"]}
                for log in logs
            ]
            updates = [u for u in by_seed[0] if all(u in losses for losses in by_seed)]
            losses = tuple(tuple(losses[u] for u in updates) for losses in by_seed)
            found.append(LearningCurve(run=run, task=task, updates=tuple(updates), losses=losses))
        return found

    def _data(self, run: str) -> PreparedData:
        return PreparedData.open(self.plan.data_folders[self.plan.job(run, self.seeds[0]).data])


def collect(
    plan: Plan, *, command: str, progress: Callable[[str, int, int], None] | None = None
) -> StudyResults:
    """Return what the finished jobs of a study found.

    Seeds that are not finished in every job are left out; there must be one that is.
    """
    seeds = finished_seeds(plan)
    collector = _Collector(plan, seeds)
    study = plan.study
    data = [PreparedData.open(folder) for folder in plan.data_folders.values()]
    tasks = {task.name: task.kind for each in data for task in each.tasks}
    rows = []
    for number, row in enumerate(study.rows, start=1):
        rows.append(collector.row(row, list(tasks)))
        if progress is not None:
            progress("comparing", number, len(study.rows))
    shown = {name: kind for name, kind in tasks.items() if any(name in row.cells for row in rows)}
    pictures = [collector.embeddings(picture) for picture in study.embeddings]
    scored = _all_scores(
        [collector.of(run, seeds[0], row.which) for row in study.rows for run in row.run_names]
    )
    cores = counted(os.cpu_count() or 1, "core")
    return StudyResults(
        name=study.name,
        title=study.title,
        question=study.question,
        size=plan.size_name,
        command=command,
        split=plan.size.split,
        seeds=seeds,
        tasks=shown,
        rows=tuple(rows),
        signatures=signatures(scored),
        warnings=tuple(warnings(scored)),
        matrices=tuple(collector.matrix(matrix, list(shown)) for matrix in study.matrices),
        embeddings=tuple(picture for picture in pictures if picture is not None),
        curves=tuple(curve for run in study.curves for curve in collector.curves(run)),
        provenance={
            "machine": f"{processor_name()}, {cores}",
            "versions": f"taskaware {__version__}, torch {torch.__version__}, "
            f"Python {platform.python_version()}",
            "data": ", ".join(
                f"{name}: {each.fingerprint[:10]}"
                for name, each in zip(plan.data_folders, data, strict=True)
            ),
        },
        synthetic=any(source.embedded is not None for source in plan.size.data.values()),
    )


def _all_scores(scored: Sequence[_Scored]) -> list[tuple[str, Score]]:
    return [
        (task, score)
        for one in scored
        for task, result in one.results.items()
        for score in result.scores
    ]


def _cell(
    scores: Sequence[Score],
    *,
    confusion: Sequence[float | None] = (),
    p_values: tuple[float, ...] = (),
) -> Cell:
    rates = [rate for rate in confusion if rate is not None]
    return Cell(
        metric=scores[0].metric,
        values=tuple(score.value for score in scores),
        points=tuple(score.points for score in scores),
        confusion_rates=tuple(rates) if len(rates) == len(scores) else (),
        p_values=p_values,
        num_examples=scores[0].num_examples,
    )
