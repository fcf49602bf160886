"""``taskaware compare``: whether two evaluated models differ by more than chance."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from taskaware.cli.display import out


def compare(
    baseline: Path,
    other: Path,
    /,
    *,
    task: Annotated[tuple[str, ...], Parameter(negative=(), show_default=False)] = (),
) -> int:
    """Tell whether two evaluated models differ by more than chance, task by task.

    Parameters
    ----------
    baseline
        A folder that `evaluate` wrote, such as runs/mine/evaluation/model/test.
    other
        Another, of the same examples.
    task
        A task to compare (default: all that both have); repeat the option for several.
    """
    from rich.table import Table

    from taskaware.evaluation.compare import differences, read_evaluation
    from taskaware.evaluation.significance import NUM_RESAMPLES

    found = differences(read_evaluation(baseline), read_evaluation(other), task)
    table = Table(box=None, pad_edge=False)
    table.add_column("task")
    table.add_column("metric")
    for name in ("baseline", "other", "difference", "p", "examples"):
        table.add_column(name, justify="right")
    for one in found:
        figures = (f"{one.baseline:.1f}", f"{one.other:.1f}", f"{one.other - one.baseline:+.1f}")
        table.add_row(one.task, one.metric, *figures, f"{one.p_value:.3f}", f"{one.num_examples:,}")
    console = out()
    console.print(table)
    console.print(
        f"p: how likely chance alone makes such a difference (paired bootstrap, {NUM_RESAMPLES:,} "
        "draws; below 0.05 is called significant). It says nothing of another seed.",
        soft_wrap=True,
        highlight=False,
    )
    for signature in dict.fromkeys(f"{one.metric}: {one.signature}" for one in found):
        console.print(signature, style="dim", soft_wrap=True, highlight=False)
    return 0
