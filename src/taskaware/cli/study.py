"""``taskaware study``: every run of a table, then the table."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from taskaware.cli.display import out, say, stage_display
from taskaware.cli.failures import INTERRUPTED
from taskaware.cli.numbers import Seed, Workers
from taskaware.errors import TaskawareError, require_packages

if TYPE_CHECKING:
    from taskaware.study.plan import Plan


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

    What is done already is not done again; an interrupted study goes on where it was. The same
    command may run several times at once, on one machine or on many that share the folder: the runs
    are divided among them. `torchrun --nproc-per-node 8 -m taskaware study FILE` trains every run
    on 8 devices.

    Parameters
    ----------
    file
        The study: studies/NAME.toml.
    overrides
        Fields of every run's experiment over the study's own: `training.updates=50`.
    size
        How large: tiny (two CPU cores, half an hour), small, paper; a study may have others.
    seeds
        Seeds in place of the size's own; give the option once for each.
    split
        The split to score in place of the size's own (while you choose settings: dev).
    jobs
        Runs at a time on this machine, each in a process of its own; 0: one a CUDA device, or as
        many as the cores allow.
    to
        Where everything goes.
    list_only
        Print the runs and how far each is, and stop.
    """
    from taskaware.study import settings as study_file
    from taskaware.study.plan import finished_seeds, make_plan

    described = study_file.load(file)
    plan = make_plan(described, file, size, to, seeds=seeds, split=split, overrides=overrides)
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
        finished = _do(plan, jobs)
    except TaskawareError:
        if is_first and finished_seeds(plan):
            _report(plan, command)  # of the seeds that are whole
        raise
    if not is_first:
        return 0 if finished else INTERRUPTED
    if not finished:
        say(f"Stopped. Go on with: {command}")
        return INTERRUPTED
    return _report(plan, command)


def _do(plan: Plan, jobs: int) -> bool:
    from taskaware.cli.study_display import StudyDisplay
    from taskaware.study.scheduler import (
        do_jobs,
        do_together,
        make_data,
        sensible_num_workers,
    )
    from taskaware.training.processes import Seat

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
        + (f"; look at {page}" if page in written.paths else "")
    )
    return 0
