"""One training update beside other libraries' at equal sizes: time and memory, as ratios.

    python benchmarks/training.py --precision bfloat16
    python benchmarks/peer_packages.py --to peer-packages
    python benchmarks/training.py --packages peer-packages --source text
    python benchmarks/training.py --compiled
    python benchmarks/training.py --padded

Speech: encoders of equal length, 4 frames a position. Times are of one process, in turn, each after
an update of its own. Operations are products, convolutions and attention of an update, counted by
torch's counter, and set against the rate of one large product on this machine. The memory is the
most that a process of each model's own held in three updates, beyond what it held once its library
was loaded. ``training_step.py`` says what an update is, ``contestants.py`` has the sizes,
``peer_models.py`` the other libraries but Hugging Face's models. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import peer_models
import torch
import training_step
from contestants import TINY, Sizes, quiet, synthetic_batch, synthetic_texts
from process_memory import beyond_libraries_mib, last_number
from timing import Contestant, alternate, operations, product_rate, table

from taskaware.evaluation.machine import processor_name
from taskaware.training.kernels import suit_changing_shapes

if TYPE_CHECKING:
    from collections.abc import Callable

CPU = torch.device("cpu")
# The first of each is what the others are compared with.
PEERS: dict[str, dict[str, Callable[..., Contestant]]] = {
    "speech": {
        "theirs": training_step.theirs,
        "fairseq": peer_models.fairseq_speech,
        "speechbrain": peer_models.speechbrain_speech,
    },
    "text": {
        "theirs": training_step.theirs,
        "fairseq": peer_models.fairseq_text,
        "joeynmt": peer_models.joeynmt_text,
        "eole": peer_models.eole_text,
    },
}
# Ours with the front end of Hugging Face's and fairseq's in the place of the paper's.
LIKE_THEIRS = "their front end"
PADDED = "padded"  # the vanilla model with padding in every product, the front end in one part
COMPILED = "compiled"  # the vanilla model's blocks by torch.compile, which needs a C++ compiler
_TEXTS = 64  # of a batch: as many pieces as the positions of the batch of speech
_SIDE = 2048


def main() -> None:
    """Print a table of times and one of memory; in a child, the memory of one model."""
    parser = argparse.ArgumentParser(description="Times and memory of one training update.")
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--source", choices=list(PEERS), default="speech")
    parser.add_argument("--packages", type=Path, help="folder that peer_packages.py filled")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--repetitions", type=int, default=7, help="timed rounds")
    parser.add_argument("--compiled", action="store_true", help="ours by torch.compile as well")
    parser.add_argument("--padded", action="store_true", help="ours with all padding as well")
    parser.add_argument("--tiny", action="store_true", help="sizes that only show that it runs")
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    options = parser.parse_args()
    suit_changing_shapes()  # for all of them: others gain by it too
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    quiet()
    if options.packages:
        sys.path.append(str(options.packages.resolve()))
    sizes = TINY if options.tiny else Sizes()
    if options.source == "text":
        sizes = replace(sizes, num_examples=TINY.num_examples if options.tiny else _TEXTS)
    if options.memory_of:
        name = options.memory_of
        _contestant(name, TINY, options).run()  # what a library loads at its first use is loaded
        print(beyond_libraries_mib(lambda: _contestant(name, sizes, options)))
        return
    print(f"machine: {processor_name()}\nprecision: {options.precision}\nsizes: {sizes}")
    contestants: dict[str, Contestant] = {}
    names = [*PEERS[options.source], *training_step.CUES]
    names += [LIKE_THEIRS] if options.source == "speech" else []
    for name in names + [COMPILED] * options.compiled + [PADDED] * options.padded:
        try:
            contestants[name] = _contestant(name, sizes, options)
        except ModuleNotFoundError as error:
            print(f"left out: {name}, as {error.name} is not installed (peer_packages.py)")
    print()
    rows = alternate(
        list(contestants.values()),
        repetitions=options.repetitions,
        warm_up=1,
        device=CPU,
        settle=1,
    )
    print(table(f"One training update of {sizes.num_examples} examples", rows), end="\n\n")
    counts = {name: operations(one) for name, one in contestants.items()}
    rate = product_rate(_SIDE, getattr(torch, options.precision), CPU)
    print(f"A product of two matrices of {_SIDE} x {_SIDE}: {rate / 1e9:.0f} GFLOP/s\n")
    print("| model | GFLOP | GFLOP/s | of that rate |\n|---|---:|---:|---:|")
    for row, count in zip(rows, counts.values(), strict=True):
        reached = 1e3 * count / row.median_ms
        print(f"| {row.name} | {count / 1e9:.0f} | {reached / 1e9:.0f} | {reached / rate:.0%} |")
    print()
    with ThreadPoolExecutor(max_workers=2) as pool:  # none of them is timed
        memory = dict(zip(contestants, pool.map(_memory_in_a_process, contestants), strict=True))
    print("| model | MiB beyond the libraries | ratio |\n|---|---:|---:|")
    for row, mib in zip(rows, memory.values(), strict=True):
        print(f"| {row.name} | {mib:.0f} | {mib / memory['theirs']:.2f} |")
    found = {
        "precision": options.precision,
        "peers": [name for name in contestants if name in PEERS[options.source]],
        "rows": {name: asdict(row) for name, row in zip(contestants, rows, strict=True)},
        "memory": memory,
        "operations": counts,
        "operations_a_second_of_a_product": rate,
    }
    print("\n" + json.dumps(found))


def _contestant(name: str, sizes: Sizes, options: argparse.Namespace) -> Contestant:
    batches = {"speech": synthetic_batch, "text": synthetic_texts}
    batch = batches[options.source](sizes, device=CPU)
    if name in PEERS[options.source]:
        return PEERS[options.source][name](sizes, batch, CPU, options.precision)
    return training_step.ours(
        sizes,
        batch,
        CPU,
        options.precision,
        name if name in training_step.CUES else f"vanilla, {name}",
        cue=training_step.CUES.get(name, "none"),
        num_cnn_layers=2,
        like_theirs=name == LIKE_THEIRS,
        compiled=name == COMPILED,
        padded=name == PADDED,
    )


def _memory_in_a_process(name: str) -> float:
    return last_number([sys.executable, __file__, *sys.argv[1:], "--memory-of", name])


if __name__ == "__main__":
    main()
