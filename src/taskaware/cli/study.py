"""``taskaware study``: every run of a table, then the table."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from taskaware.cli.display import out, say, stage_display
from taskaware.cli.endings import code_of
from taskaware.cli.numbers import Seed, Workers
from taskaware.errors import TaskawareError, require_packages

if TYPE_CHECKING:
    from taskaware.study.plan import Plan
    from taskaware.training.ending import Ending


def study(
    file: Path,
    /,
    *overrides: str,
    size: str = "tiny",
    seeds: Annotated[tuple[Seed, ...], Parameter(negative=(), show_default=False)] = (),
    split: str = "",
    jobs: Workers = 0,
    to: Path = Path("runs/studies"),
    list_only: Annotated[bool, Parameter(name="--list", negative=())] = False,
) -> int:
    """Train and score every run of a study, then write its table, figures and page.

    Needs the extra `report`, and `demo` where the study makes its own data.

    Finished runs are not repeated; the same command resumes an interrupted study. Several of these
    commands may run at the same time, on one machine or on many that share the folder: they divide
    the runs among them. `torchrun --nproc-per-node 8 -m taskaware study FILE` trains every run on
    8 devices.

    Parameters
    ----------
    file
        The study: studies/NAME.toml.
    overrides
        Fields that override those of every run's experiment: `training.updates=50`.
    size
        The size: tiny (two CPU cores, half an hour), small, paper; a study may have others.
    seeds
        A seed to use instead of the size's own; repeat the option for several.
    split
        The split to score instead of the size's own (dev while you choose settings).
    jobs
        Runs at a time on this machine, each in its own process; 0: one per CUDA device, or as many
        as the cores allow.
    to
        The folder to write to.
    list_only
        Print the runs and their progress, and stop.
    """
    from taskaware.study import settings as study_file
    from taskaware.study.checks import require_fit
    from taskaware.study.plan import finished_seeds, make_plan

    described = study_file.load(file)
    plan = make_plan(described, file, size, to, seeds=seeds, split=split, overrides=overrides)
    require_fit(plan)
    if list_only:
        from taskaware.cli.study_display import overview_table

        out().print(overview_table(plan, failed={}))
        return 0
    # Scores of task embeddings and all figures: said before the runs and not after them.
    require_packages("a study", "report", "matplotlib", "sklearn")
    options = [word for seed in seeds for word in ("--seeds", str(seed))]
    options += ["--split", split] if split else []
    options += ["--to", str(to)] if to != Path("runs/studies") else []
    command = shlex.join(["taskaware", "study", str(file), *overrides, "--size", size, *options])
    is_first = int(os.environ.get("RANK", "0")) == 0
    try:
        ending = _do(plan, jobs)
    except TaskawareError:
        if is_first and finished_seeds(plan):
            try:
                _report(plan, command)  # of the seeds that are whole
            except TaskawareError as error:  # what failed first is what the command says last
                say(f"warning: no table of the finished seeds: {error}")
        raise
    if not is_first:
        return code_of(ending)
    if not ending:
        say(f"Stopped. Resume with: {command}")
        return code_of(ending)
    return _report(plan, command)


def _do(plan: Plan, jobs: int) -> Ending:
    from taskaware.cli.study_display import StudyDisplay
    from taskaware.study.scheduler import (
        do_jobs,
        do_together,
        make_data,
        sensible_num_workers,
    )
    from taskaware.study.write import require_folder
    from taskaware.training.processes import Seat

    require_folder(plan.folder, study=plan.study.name, size=plan.size_name)
    seat = Seat.from_environment()
    with stage_display() as progress:
        make_data(plan, progress=progress)
    if seat.num_ranks > 1:
        return do_together(plan, seat)
    with StudyDisplay() as display:
        workers = jobs if jobs > 0 else sensible_num_workers(plan)
        return do_jobs(plan, num_workers=workers, overview=display)


def _report(plan: Plan, command: str) -> int:
    from taskaware.study.collect import collect
    from taskaware.study.write import write_all

    with stage_display() as progress:
        results = collect(plan, command=command, progress=progress)
    written = write_all(results, plan.folder)
    sys.stdout.write((plan.folder / "table.md").read_text(encoding="utf-8"))
    page = plan.folder / "report.html"
    if written.warning:
        say(f"warning: {written.warning}")
    say(
        f"\n{len(written.paths)} files in {plan.folder}"
        + (f"; open {page}" if page in written.paths else "")
    )
    return 0
