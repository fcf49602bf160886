"""One training update beside Hugging Face's at equal encoder length: time and memory, as ratios.

    python benchmarks/training.py --precision bfloat16

Times are of one process, in turn. The memory is the most that a process of each model's own held in
three updates, beyond what it held once the libraries were loaded. ``training_step.py`` says what an
update is, ``contestants.py`` has the sizes. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import training_step
from contestants import TINY, Sizes, synthetic_batch
from timing import alternate, table

from taskaware.evaluation.machine import processor_name
from taskaware.training.memory import bound_caches

if TYPE_CHECKING:
    from timing import Contestant

CPU = torch.device("cpu")
THEIRS = "theirs"
NAMES = (THEIRS, *training_step.CUES)
_UPDATES = 3


def main() -> None:
    """Print a table of times and one of memory; in a child, the memory of one model."""
    parser = argparse.ArgumentParser(description="Times and memory of one training update.")
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--repetitions", type=int, default=7, help="timed rounds")
    parser.add_argument("--tiny", action="store_true", help="sizes that only show that it runs")
    parser.add_argument("--memory-of", choices=NAMES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    bound_caches()  # for all of them: theirs gains by it too
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    _quiet()
    sizes = TINY if options.tiny else Sizes()
    if options.memory_of:
        print(_beyond_libraries_mib(options.memory_of, sizes, options.precision))
        return
    print(f"machine: {processor_name()}\nprecision: {options.precision}\nsizes: {sizes}\n")
    rows = alternate(
        [_contestant(name, sizes, options.precision) for name in NAMES],
        repetitions=options.repetitions,
        warm_up=2,
        device=CPU,
    )
    print(table(f"One training update of {sizes.num_examples} recordings", rows), end="\n\n")
    memory = {}
    for name in NAMES:
        command = [sys.executable, __file__, *sys.argv[1:], "--memory-of", name]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        memory[name] = float(output.split()[-1])
    print("| model | MiB beyond the libraries | ratio |\n|---|---:|---:|")
    for name, mib in memory.items():
        print(f"| {name} | {mib:.0f} | {mib / memory[THEIRS]:.2f} |")
    found = {"precision": options.precision, "rows": [asdict(r) for r in rows], "memory": memory}
    print("\n" + json.dumps(found))


def _contestant(name: str, sizes: Sizes, precision: str) -> Contestant:
    batch = synthetic_batch(sizes, device=CPU)
    if name == THEIRS:
        return training_step.theirs(sizes, batch, CPU, precision)
    cue = training_step.CUES[name]
    return training_step.ours(sizes, batch, CPU, precision, name, cue=cue, num_cnn_layers=2)


def _beyond_libraries_mib(name: str, sizes: Sizes, precision: str) -> float:
    """Return what updates held at most, beyond the libraries, in this process (Linux)."""
    before = _status_mib("VmRSS")
    contestant = _contestant(name, sizes, precision)
    for _ in range(_UPDATES):
        contestant.run()
    return _status_mib("VmHWM") - before


def _status_mib(field: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 2**10
    raise OSError(f"/proc/self/status must have the field {field}")


def _quiet() -> None:
    """Keep notices that concern no one here out of the table, and load theirs before measuring."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    import transformers

    transformers.logging.set_verbosity_error()
    _ = transformers.Speech2TextForConditionalGeneration  # loaded when it is first named
    warnings.filterwarnings("ignore", category=UserWarning)


if __name__ == "__main__":
    main()
