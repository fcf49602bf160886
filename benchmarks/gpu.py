"""Training and decoding on a CUDA device, beside Hugging Face's Speech2Text of equal sizes.

    python benchmarks/gpu.py

The paper's multi_modality sizes (12 + 12 blocks of 512), bfloat16 by autocast, recordings of 8 s in
training and of 10 s in decoding. Operations are products, convolutions and attention of an update,
counted by torch's counter, and set against the rate of one large product on this device. The first
table has updates of lengths that none before had, as in training, with cuDNN's attention and
without it (``suit_changing_shapes``). The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
import warnings
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

import decoding_step
import torch
import training_step
from contestants import TINY, Sizes, synthetic_batch
from timing import Contestant, alternate, operations, product_rate, wait

from taskaware.training.kernels import suit_changing_shapes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PAPER = Sizes(
    d_model=512,
    num_heads=8,
    d_ff=1024,
    num_layers=12,
    vocabulary_size=32_000,
    num_pieces=40,
)
PRECISION = "bfloat16"
_THEIRS = "Hugging Face"
_SIDE = 8192
_ROUNDS = 5
_NEW_SHAPES = 8


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What was measured of one contestant.

    Attributes:
        name: Its row.
        examples: Of a batch.
        milliseconds: Median time of a run.
        ratio: How many times as fast as the first row of these examples.
        share: Of the rate of a large product that is reached (training).
        gib: Most memory that a run held, weights and the optimiser's state with it.
        real_times: Seconds of recordings decoded in a second (decoding).
    """

    name: str
    examples: int
    milliseconds: float
    ratio: float
    share: float | None = None
    gib: float | None = None
    real_times: float | None = None


def main() -> None:
    """Print the tables and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda", help="cpu only with --tiny: shows that it runs")
    parser.add_argument("--tiny", action="store_true", help="sizes that only show that it runs")
    parser.add_argument("--only", choices=["", "training", "lengths", "decoding"], default="")
    options = parser.parse_args()
    device = torch.device(options.device)
    warnings.filterwarnings("ignore", category=UserWarning)
    torch.manual_seed(0)
    sizes = TINY if options.tiny else PAPER
    is_cuda = device.type == "cuda"
    name = torch.cuda.get_device_name(device) if is_cuda else "a CPU"
    print(f"machine: {name}, torch {torch.__version__}\nsizes: {sizes}\n")
    found: dict[str, list[dict[str, object]]] = {}
    if options.only in ("", "lengths"):
        found["lengths"] = list(_shown(_lengths(sizes, device)))
    suit_changing_shapes()
    if options.only in ("", "training"):
        numbers = (2,) if options.tiny else (16, 64, 256)
        side = _SIDE if is_cuda else 256
        rate = product_rate(side, torch.bfloat16, device)
        print(f"A product of two matrices of {side} x {side}: {rate / 1e12:.3g} TFLOP/s\n")
        found["training"] = list(_shown(_training(sizes, numbers, device, rate=rate)))
    if options.only in ("", "decoding"):
        numbers = (2,) if options.tiny else (16, 128, 512)
        longer = sizes if options.tiny else replace(sizes, num_frames=1000)
        found["decoding"] = list(_shown(_decoding(longer, numbers, device)))
    print("\n" + json.dumps({"machine": name, "sizes": asdict(sizes), **found}))


def _shown(rows: Iterator[Measured]) -> Iterator[dict[str, object]]:
    """Print each row of a table as it comes."""
    print("| model | examples | ms | times as fast | of a product's rate | GiB | real times |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for row in rows:
        share = "" if row.share is None else f"{row.share:.1%}"
        gib = "" if row.gib is None else f"{row.gib:.1f}"
        times = "" if row.real_times is None else f"{row.real_times:,.0f}"
        figures = (f"{row.examples}", f"{row.milliseconds:.1f}", f"{row.ratio:.2f}")
        print(f"| {' | '.join((row.name, *figures, share, gib, times))} |", flush=True)
        yield asdict(row)
    print(flush=True)


def _training(
    sizes: Sizes, numbers: tuple[int, ...], device: torch.device, *, rate: float
) -> Iterator[Measured]:
    """Yield an update of each model; ``rate``: operations a second of a large product."""
    for examples in numbers:
        sized = replace(sizes, num_examples=examples)
        batch = synthetic_batch(sized, device=device)
        makers: list[Callable[[], Contestant]] = [
            lambda s=sized, b=batch: training_step.theirs(s, b, device, PRECISION)
        ]
        for compiled in (False, True) if device.type == "cuda" else (False,):
            for name, cue in training_step.CUES.items():
                makers.append(
                    lambda s=sized, b=batch, n=name, c=cue, k=compiled: training_step.ours(
                        s, b, device, PRECISION, f"{n}{', compiled' * k}",
                        cue=c, num_cnn_layers=2, compiled=k,
                    )
                )  # fmt: skip
        contestants, counts, memory = [], [], []
        for make in makers:
            contestant = make()
            # The counter sees no compiled operations; they are those of the same model as written.
            is_compiled = len(counts) > len(training_step.CUES)
            counts.append(
                counts[-len(training_step.CUES)] if is_compiled else operations(contestant)
            )
            memory.append(_peak_gib(contestant, device))
            contestants.append(contestant)
        rows = alternate(contestants, repetitions=_ROUNDS, warm_up=2, device=device)
        for row, counted, gib in zip(rows, counts, memory, strict=True):
            yield Measured(
                name=row.name,
                examples=examples,
                milliseconds=row.median_ms,
                ratio=row.ratio,
                share=1e3 * counted / row.median_ms / rate,
                gib=gib,
            )
        contestants.clear()  # the next ones need their memory


def _lengths(sizes: Sizes, device: torch.device) -> Iterator[Measured]:
    """Yield the time of an update of new lengths, of two blocks, for either kernel of attention."""
    sized = replace(sizes, num_examples=min(32, 8 * sizes.num_examples), num_layers=1)
    first = 0.0
    for name, with_cudnn in (("with cuDNN's attention", True), ("without it", False)):
        torch.backends.cuda.enable_cudnn_sdp(with_cudnn)
        took = [
            _first_update(
                replace(sized, num_frames=sized.num_frames - 4 * i, num_pieces=5 + i), device
            )
            for i in range(with_cudnn, 2 * _NEW_SHAPES, 2)  # no shape is met again
        ]
        milliseconds = 1e3 * statistics.median(took)
        first = first or milliseconds
        yield Measured(
            name=f"new lengths, {name}",
            examples=sized.num_examples,
            milliseconds=milliseconds,
            ratio=first / milliseconds,
        )


def _first_update(sizes: Sizes, device: torch.device) -> float:
    one = training_step.ours(
        sizes, synthetic_batch(sizes, device=device), device, PRECISION, "explicit",
        cue="explicit", num_cnn_layers=2,
    )  # fmt: skip
    wait(device)
    began = time.perf_counter()
    one.run()
    wait(device)
    return time.perf_counter() - began


def _decoding(sizes: Sizes, numbers: tuple[int, ...], device: torch.device) -> Iterator[Measured]:
    for examples in numbers:
        sized = replace(sizes, num_examples=examples)
        seconds = float(synthetic_batch(sized, device=device).source_lengths.sum()) / 100
        contestants = decoding_step.contestants(sized, device=device, precision=PRECISION)[:3]
        for row in alternate(contestants, repetitions=3, warm_up=1, device=device):
            yield Measured(
                name=row.name,
                examples=examples,
                milliseconds=row.median_ms,
                ratio=row.ratio,
                real_times=1e3 * seconds / row.median_ms,
            )


def _peak_gib(contestant: Contestant, device: torch.device) -> float | None:
    if device.type != "cuda":
        return None
    contestant.run()
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    contestant.run()
    weights = 16 * contestant.num_parameters  # weights, gradients, two moments, all float32
    return (torch.cuda.max_memory_allocated(device) - before + weights) / 2**30


if __name__ == "__main__":
    main()
