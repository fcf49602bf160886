"""What large memory pages do to a training update and a beam search on a CPU, ours and a peer's.

    python benchmarks/large_pages.py --rounds 3

Whether malloc asks for them is settled when a process begins (``taskaware/large_pages.py``). So
each round starts a process with pages of 4 KiB and one with large ones, in turn. In each, what is
timed takes turns too (``timing.alternate``). A row has the medians over the rounds of the
processor's milliseconds, and how many times as fast large pages made it, in each round. The last
line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys

from taskaware.evaluation.machine import processor_name
from taskaware.held_memory import peak_mib
from taskaware.large_pages import TUNABLE, TUNABLES

KINDS = {"4 KiB": "0", "large": "1"}


def main() -> None:
    """Print the machine and a table, or in a child the figures of one kind of pages."""
    parser = argparse.ArgumentParser(description="Compares pages of 4 KiB with large ones.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repetitions", type=int, default=5, help="in each process")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--tiny", action="store_true", help="sizes that only show that it runs")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measure(options)))
        return
    print(f"machine: {processor_name()}\npython: {platform.python_version()}\n", flush=True)
    found = [
        {kind: _in_a_process(value) for kind, value in KINDS.items()} for _ in range(options.rounds)
    ]
    print("| | 4 KiB, ms | large, ms | times as fast | in each round |\n|---|---:|---:|---:|---|")
    for name in found[0]["large"]:
        small, large = ([one[kind][name] for one in found] for kind in KINDS)
        ratios = [a / b for a, b in zip(small, large, strict=True)]
        print(
            f"| {name} | {statistics.median(small):.0f} | {statistics.median(large):.0f} "
            f"| {statistics.median(ratios):.2f} | {', '.join(f'{one:.2f}' for one in ratios)} |"
        )
    print("\n" + json.dumps(found))


def _in_a_process(value: str) -> dict[str, float]:
    environment = {**os.environ, TUNABLES: f"{TUNABLE}={value}"}
    command = [sys.executable, __file__, *sys.argv[1:], "--child"]
    run = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return json.loads(run.stdout.splitlines()[-1])


def measure(options: argparse.Namespace) -> dict[str, float]:
    """Return the processor's milliseconds of each thing, and the memory that all held at most."""
    import decoding_step
    import torch
    import training_step
    from contestants import TINY, Sizes
    from timing import alternate

    torch.set_num_threads(1)
    torch.manual_seed(0)
    sizes = TINY if options.tiny else Sizes()
    device, found = torch.device("cpu"), {}
    parts = {"update": training_step.contestants, "search": decoding_step.contestants}
    for part, contestants in parts.items():
        of_part = [
            one
            for one in contestants(sizes, device=device, precision=options.precision)
            if one.frames_per_position == 4 and "implicit" not in one.name
        ]
        for row in alternate(of_part, repetitions=options.repetitions, warm_up=1, device=device):
            found[f"{part}: {row.name}"] = row.median_ms
    return {**found, "memory at most, MiB": peak_mib()}


if __name__ == "__main__":
    main()
