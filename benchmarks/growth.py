"""How an update's time and memory grow with what is trained on, beside Hugging Face's models.

    python benchmarks/growth.py                                  # all tables
    python benchmarks/growth.py --by length preset --memory      # two of them, with memory
    python benchmarks/growth.py --by preset --whisper WHISPER_BASE

One thing at a time is changed of the batch that ``training.py`` has: the length of the recordings
(to 60 s), how many there are, the blocks, the tasks of the model (to 51; a batch has one of them);
or the model is one of the paper's, or an imported Whisper. Operations and the machine's rate are
those of ``training.py``, and so is memory (``--memory``: each row in processes of its own). The
last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import training_step
from contestants import (
    PRESETS,
    TINY,
    Sizes,
    num_parameters,
    quiet,
    synthetic_batch,
    synthetic_texts,
)
from process_memory import beyond_libraries_mib, last_number
from timing import Contestant, alternate, operations, product_rate

from taskaware.evaluation.machine import processor_name
from taskaware.model.conditioning_settings import ConditioningSettings
from taskaware.model.create_model import create_model
from taskaware.model.pretrained.read import read_pretrained
from taskaware.model.task_network import TASK_NETWORK
from taskaware.training.kernels import suit_changing_shapes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from taskaware.types import Batch

CPU = torch.device("cpu")
THEIRS = "theirs"
NAMES = (THEIRS, *training_step.CUES)
WAYS = ("length", "batch", "layers", "tasks", "preset")
_LENGTHS_S = (2, 5, 10, 20, 40, 60)
_BATCHES = (1, 4, 16, 64)
_LAYERS = (2, 6, 12, 18)
_TASKS = (1, 7, 25, 51)
_FRAMES_PER_S = 100
_PIECES_PER_S = 4
_WHISPER = "Whisper"
_WHISPER_FRAMES = 3000
_SIDE = 2048


@dataclass(frozen=True, kw_only=True)
class Case:
    """A row: what is computed, in which models.

    Attributes:
        name: Its name.
        sizes: Of the batch and, but of Whisper, of the model.
        source: `speech`, `text`, or Whisper's recordings of 30 s.
        beside_theirs: Whether Hugging Face's model is timed too.
    """

    name: str
    sizes: Sizes
    source: str = "speech"
    beside_theirs: bool = True


def cases(way: str, options: argparse.Namespace) -> Iterator[Case]:
    """Return the rows of one table."""
    sizes = TINY if options.tiny else Sizes()
    if way == "length":
        for seconds in _LENGTHS_S[:2] if options.tiny else _LENGTHS_S:
            # As many seconds in every batch, where one recording is not more than that already.
            longest = {"num_frames": _FRAMES_PER_S * seconds, "num_pieces": _PIECES_PER_S * seconds}
            yield Case(
                name=f"{seconds} s",
                sizes=replace(sizes, **longest, num_examples=max(1, 60 // seconds)),
            )
    elif way == "batch":
        for number in _BATCHES[:2] if options.tiny else _BATCHES:
            yield Case(name=f"{number} recordings", sizes=replace(sizes, num_examples=number))
    elif way == "layers":
        for number in _LAYERS[:1] if options.tiny else _LAYERS:
            yield Case(name=f"{number} + {number}", sizes=replace(sizes, num_layers=number))
    elif way == "tasks":
        for number in _TASKS:
            of_tasks = replace(sizes, num_tasks=number)
            yield Case(name=f"{number}", sizes=of_tasks, beside_theirs=False)
    else:
        for name, (source, of_preset) in PRESETS.items():
            yield Case(name=name, sizes=sizes if options.tiny else of_preset, source=source)
        if options.whisper:
            heard = replace(
                sizes,
                num_examples=1 if options.tiny else 2,
                num_frames=_WHISPER_FRAMES,
                num_bins=80,
            )
            yield Case(name="imported Whisper", sizes=heard, source=_WHISPER)


def main() -> None:
    """Print a table for each way to grow; in a child, the memory of one model."""
    parser = argparse.ArgumentParser(description="How an update grows.")
    parser.add_argument("--by", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--whisper", type=Path, help="a Whisper in Hugging Face's layout")
    parser.add_argument("--memory", action="store_true", help="the memory of each row too")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--repetitions", type=int, default=3, help="timed rounds")
    parser.add_argument("--tiny", action="store_true", help="sizes that only show that it runs")
    parser.add_argument("--memory-of", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    suit_changing_shapes()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    quiet()
    if options.memory_of:
        way, row, name = options.memory_of
        case = next(case for case in cases(way, options) if case.name == row)
        _contestant(name, replace(case, sizes=TINY, source="speech"), options).run()
        print(beyond_libraries_mib(lambda: _contestant(name, case, options)))
        return
    rate = product_rate(_SIDE, getattr(torch, options.precision), CPU)
    print(f"machine: {processor_name()}\nprecision: {options.precision}")
    print(f"A product of two matrices of {_SIDE} x {_SIDE}: {rate / 1e9:.0f} GFLOP/s")
    found = {way: _table(way, rate, options) for way in options.by}
    print("\n" + json.dumps({"precision": options.precision, "rate": rate, **found}))


def _table(way: str, rate: float, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Print the rows of one way to grow as they come, and return them."""
    titles = [way, "Hugging Face, ms", *(f"{cue}, ms" for cue in training_step.CUES)]
    titles += ["times as fast", "GFLOP", "of the rate"]
    titles += ["MiB", "of theirs"] if options.memory else []
    print(f"\n| {' | '.join(titles)} |\n|---|{'---:|' * (len(titles) - 1)}", flush=True)
    found = []
    for case in cases(way, options):
        names = NAMES if case.beside_theirs else NAMES[1:]
        contestants = {name: _contestant(name, case, options) for name in names}
        rows = alternate(
            list(contestants.values()),
            repetitions=options.repetitions,
            warm_up=1,
            device=CPU,
            settle=1,
        )
        took = {name: row.median_ms for name, row in zip(names, rows, strict=True)}
        count = operations(contestants["vanilla"])
        ratio = rows[1].ratio if case.beside_theirs else None
        cells = [f"{took[name]:.0f}" if name in took else "" for name in NAMES]
        cells += [f"{ratio:.2f}" if ratio else "", f"{count / 1e9:.0f}"]
        cells.append(f"{1e3 * count / took['vanilla'] / rate:.0%}")
        memory = {}
        if options.memory:
            del contestants  # their memory is wanted elsewhere
            memory = {name: _memory(way, case, name) for name in names[: 1 + case.beside_theirs]}
            cells.append(f"{memory['vanilla']:.0f}")
            cells.append(f"{memory['vanilla'] / memory[THEIRS]:.2f}" if THEIRS in memory else "")
        print(f"| {case.name} | {' | '.join(cells)} |", flush=True)
        found.append(
            {"case": asdict(case), "milliseconds": took, "operations": count, "memory": memory}
        )
    return found


def _memory(way: str, case: Case, name: str) -> float:
    return last_number(
        [sys.executable, __file__, *sys.argv[1:], "--memory-of", way, case.name, name]
    )


def _contestant(name: str, case: Case, options: argparse.Namespace) -> Contestant:
    if case.source == _WHISPER:
        return _whisper(name, case, options)
    make = synthetic_texts if case.source == "text" else synthetic_batch
    batch = make(case.sizes, device=CPU)
    if name == THEIRS:
        return training_step.theirs(case.sizes, batch, CPU, options.precision)
    cue = training_step.CUES[name]
    return training_step.ours(
        case.sizes, batch, CPU, options.precision, name, cue=cue, num_cnn_layers=2
    )


def _whisper(name: str, case: Case, options: argparse.Namespace) -> Contestant:
    """Return an update of all weights of an imported Whisper, or of Hugging Face's own."""
    batch = synthetic_batch(case.sizes, device=CPU)
    batch = replace(batch, source_lengths=torch.full_like(batch.source_lengths, _WHISPER_FRAMES))
    if name == THEIRS:
        return _their_whisper(batch, options)
    cue = training_step.CUES[name]
    pretrained = read_pretrained(options.whisper)
    settings = replace(
        pretrained.settings, conditioning=ConditioningSettings(cue=cue, film_on="decoder")
    )
    model = create_model(
        settings, vocabulary_size=pretrained.vocabulary_size, tasks=[batch.task]
    ).train()
    new = model.load_state_dict(pretrained.tensors, strict=False)
    wrong = [one for one in new.missing_keys if not one.startswith(TASK_NETWORK)]
    if wrong or new.unexpected_keys:
        raise SystemExit(f"but for the task network all must be loaded, not so: {wrong}, {new}")
    return Contestant(
        name=name,
        frames_per_position=2,
        num_parameters=num_parameters(model),
        run=training_step.our_update(model, batch, CPU, options.precision, cue=cue),
    )


def _their_whisper(batch: Batch, options: argparse.Namespace) -> Contestant:
    from transformers import WhisperForConditionalGeneration

    model: Any = WhisperForConditionalGeneration.from_pretrained(options.whisper)
    model.train()
    labels = training_step.padded_labels(batch)
    features = batch.source.transpose(1, 2).contiguous()

    def loss() -> torch.Tensor:
        out = model(input_features=features, decoder_input_ids=batch.target_input, use_cache=False)
        return training_step.smoothed_cross_entropy(out.logits, labels)

    name = "Hugging Face Whisper"
    return training_step.peer(model, loss, CPU, options.precision, name=name, frames=2)


if __name__ == "__main__":
    main()
