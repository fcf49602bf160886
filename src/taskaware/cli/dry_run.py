"""``taskaware train FILE --dry-run``: what a run would take, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskaware.cli.display import say
from taskaware.errors import counted

if TYPE_CHECKING:
    from pathlib import Path

    from taskaware.run.dry_run import DryRun
    from taskaware.run.experiment import Experiment

# What the estimate for devices that are not here assumes.
NUM_DEVICES = 8
DEVICE_OPERATIONS_PER_SECOND = (
    1e14  # a third of the peak of an A100 in bfloat16, a tenth of an H100's
)
# The least time of a block in an update, for one batch: a processor takes so long to begin all its
# operations, whatever they compute (measured beside an H200: docs/results/performance.md).
DEVICE_SECONDS_PER_BLOCK = 4e-3
LINK_BYTES_PER_SECOND = 2e11  # what an all-reduce within one machine reaches (NVLink)
_HOURS_WORTH_DEVICES = 24.0
_BUSY = 0.8


def try_run(experiment: Experiment, folder: Path) -> int:
    """Try an experiment, print what it would take, and leave nothing behind."""
    from taskaware.run.dry_run import dry_run

    found = dry_run(experiment, folder, note=say)
    print("\n".join(described(found, experiment)))
    return 0


def described(found: DryRun, experiment: Experiment) -> list[str]:
    """Return the lines that say what was found."""
    largest = "; ".join(
        f"{counted(examples, 'example')} of {source:,} frames or pieces and {target:,} target "
        "pieces"
        for examples, source, target in dict.fromkeys(found.largest)
    )
    seconds = found.seconds_per_update
    lines = [f"note: {remark}" for remark in found.remarks]
    if found.is_synthetic:
        lines.append(_says_synthetic(experiment))
    lines += [
        f"model          {found.num_parameters:,} parameters, tasks {', '.join(found.tasks)}",
        f"largest batch  fits: {largest} ({found.largest_seconds:.1f} s)",
        f"updates        {1 / seconds:.2f} a second ({seconds:.2f} s each, "
        f"{found.num_updates} timed), {found.examples_per_update:.0f} examples each, "
        f"waiting for data {found.waiting:.0%}",
        f"speed          {found.operations / 1e9:,.1f} GFLOP an update, "
        f"{found.operations / seconds / 1e9:,.1f} GFLOP/s (products and convolutions counted)",
        f"memory         {found.memory_mib:,.0f} MiB at most",
        f"whole run      {_long(found.hours)} on this machine, in one process: "
        f"{counted(found.updates, 'update')}"
        + (
            f" and {counted(found.num_validations, 'validation')} of about "
            f"{found.validation_seconds:.1f} s"
            if found.validation_seconds
            else ", validations not counted"
        ),
    ]
    if found.share_of_processor < _BUSY:
        lines.append(
            f"note: other work keeps this machine busy: the updates had "
            f"{found.share_of_processor:.0%} of one processor's time, and the hours are those of a "
            "machine that stays so"
        )
    if found.hours > _HOURS_WORTH_DEVICES:
        lines.append(_on_devices(found))
    lines.append("Nothing was written.")
    return lines


def _says_synthetic(experiment: Experiment) -> str:
    from taskaware.run import dry_run as stand_ins

    shortest, longest = stand_ins.SYNTHETIC_SECONDS
    fewest, most = stand_ins.SYNTHETIC_TEXT_PIECES
    return (
        f"note: there is no data in {experiment.data.folder}, so made-up batches stand for it: "
        f"recordings of {shortest:.0f} to {longest:.0f} s, texts of {fewest} to {most} pieces, "
        f"{stand_ins.SYNTHETIC_PIECES:,} pieces of vocabulary, the longest examples that "
        "`batching` allows in the largest batch. With the data itself the figures will differ"
    )


def _on_devices(found: DryRun) -> str:
    """Return the estimate for several GPUs, and how it is made."""
    counted = found.operations / DEVICE_OPERATIONS_PER_SECOND
    begun = found.block_passes * DEVICE_SECONDS_PER_BLOCK
    computing = max(counted, begun)
    moved = 2 * (NUM_DEVICES - 1) / NUM_DEVICES * 4 * found.num_parameters
    exchange = moved / LINK_BYTES_PER_SECOND
    hours = (computing + exchange) * found.updates / 3600
    rate = DEVICE_OPERATIONS_PER_SECOND / 1e12
    return (
        f"{NUM_DEVICES} GPUs         about {_long(hours)}: an estimate, not measured. "
        f"{1e3 * computing:.1f} ms for an update, the longer of its {found.operations / 1e9:,.0f} "
        f"GFLOP at {rate:.0f} TFLOP/s a device ({1e3 * counted:.1f} ms) and what a processor takes "
        f"to begin the operations of its blocks ({1e3 * begun:.1f} ms), and "
        f"{1e3 * exchange:.1f} ms for {moved / 2**20:,.0f} MiB of "
        f"gradients at {LINK_BYTES_PER_SECOND / 1e9:.0f} GB/s; every device has batches of its "
        f"own, so that an update sees {NUM_DEVICES} times the examples; without validations"
    )


def _long(hours: float) -> str:
    if hours < 1:
        return f"{60 * hours:.1f} minutes"
    return f"{hours:.1f} hours" if hours < 72 else f"{hours / 24:.1f} days"
