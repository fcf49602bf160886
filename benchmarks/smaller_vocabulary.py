"""What a pretrained model saves by a vocabulary that is cut to the pieces of some texts.

::

    python benchmarks/smaller_vocabulary.py whisper-base --pieces-of train.tsv --recordings *.flac

Prints pieces, parameters and bytes of the weights, whole and cut; the median time of decoding the
recordings greedily (one after the other, features not counted) and of an update of all weights on
them as one batch (gradients and an Adam step, the code that ``taskaware train`` runs), filled up to
what the model hears and as long as they are, in one process, in turn; and how many outputs are
equal, greedily and with a beam of 4. The targets of the update are what the whole model writes.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from taskaware.data.batches.batching import collate
from taskaware.decoding.settings import with_beam
from taskaware.evaluation.machine import processor_name
from taskaware.pretrained.importing import import_model
from taskaware.training.checkpoint import TrainState
from taskaware.training.optimiser import create_optimiser
from taskaware.training.processes import Processes
from taskaware.training.progress import Meter
from taskaware.training.settings import (
    LearningSettings,
    ObjectiveSettings,
    OptimiserSettings,
    TrainingSettings,
)
from taskaware.training.step import Recipe, create_step

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from taskaware.inference.model import TaskAwareModel


def main() -> None:
    """Import twice, measure, and print."""
    parser = argparse.ArgumentParser(description="Measure what a smaller vocabulary saves.")
    parser.add_argument("folder", type=Path, help="a pretrained Whisper")
    parser.add_argument("--pieces-of", type=Path, nargs="+", required=True)
    parser.add_argument("--recordings", type=Path, nargs="+", required=True)
    parser.add_argument("--task", default="asr_en")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    whole, smaller = (
        import_model(
            options.folder,
            tasks=[options.task],
            pieces_of=files,
        )
        for files in ((), options.pieces_of)
    )
    models = {"whole": whole, "cut": smaller}
    print(f"{processor_name()}, torch {torch.__version__}, {options.threads} threads")
    for name, model in models.items():
        number = sum(parameter.numel() for parameter in model.transformer.parameters())
        print(
            f"{name}: {model.vocabulary.size:,} pieces, {number:,} parameters, "
            f"{4 * number / 1e6:.1f} MB"
        )
    sources = [whole.encode_source(path, "speech") for path in options.recordings]
    for beam in (1, 4):
        before, after = (written(model, options.task, sources, beam) for model in models.values())
        show_equal(smaller, beam, before, after)
    unpadded = replace(whole, feature_settings=replace(whole.feature_settings, padded_seconds=0.0))
    short = [unpadded.encode_source(path, "speech") for path in options.recordings]
    texts = [text for text, _ in written(whole, options.task, sources, 1)]
    runs = {
        "decoding": lambda model: lambda: written(model, options.task, sources, 1),
        "an update": lambda model: update(model, options.task, sources, texts),
        "an update, unpadded,": lambda model: update(model, options.task, short, texts),
    }
    for what, make in runs.items():
        seconds = in_turn([make(model) for model in models.values()], options.repetitions)
        print(
            f"{what} of {len(sources)} recordings: {seconds[0]:.2f} s whole, {seconds[1]:.2f} s "
            f"cut, {seconds[0] / seconds[1]:.2f} times as fast",
            flush=True,
        )


def show_equal(
    smaller: TaskAwareModel,
    beam: int,
    before: Sequence[tuple[str, list[str]]],
    after: Sequence[tuple[str, list[str]]],
) -> None:
    """Print how many outputs are equal, of all and of those whose pieces all stay."""
    kept = set(smaller.vocabulary.pieces(range(smaller.vocabulary.size)))
    pairs = list(zip(before, after, strict=True))
    staying = [one == other for one, other in pairs if set(one[1]) <= kept]
    print(
        f"beam {beam}: {sum(one == other for one, other in pairs)} of {len(pairs)} outputs are "
        f"equal; {sum(staying)} of {len(staying)} whose pieces all stay",
        flush=True,
    )


def written(
    model: TaskAwareModel, task: str, sources: Sequence[np.ndarray], beam: int
) -> list[tuple[str, list[str]]]:
    """Return what a model writes of sources, one after the other: texts and their pieces."""
    decoding = with_beam(model.decoding, beam=beam)
    found = [model.decode(model.task(task), [one], decoding=decoding)[0][0] for one in sources]
    return [(best.text, model.vocabulary.pieces(best.token_ids)) for best in found]


def update(
    model: TaskAwareModel, task_name: str, sources: Sequence[np.ndarray], texts: Sequence[str]
) -> Callable[[], object]:
    """Return what makes an update of all weights of a model."""
    task = model.task(task_name)
    targets = [np.array(model.vocabulary.encode(text), dtype=np.int64) for text in texts]
    batch = collate(task, list(sources), targets, cue=model.cue(task))
    recipe = Recipe(
        training=TrainingSettings(precision="float32"),
        optimiser=OptimiserSettings(max_gradient_norm=1.0, warmup_updates=1000),
        objective=ObjectiveSettings(),
        learning=LearningSettings(),
        conditioning=model.settings.conditioning,
    )
    state = TrainState(
        model=model.transformer.train(),
        optimiser=create_optimiser(recipe.optimiser, model.transformer),
        generator=torch.Generator().manual_seed(0),
    )
    alone = Processes(rank=0, num_ranks=1, device=torch.device("cpu"))
    step, meter = create_step(model.transformer, [task], recipe, alone), Meter(num_ranks=1)
    return lambda: step(state, [[batch]], meter)


def in_turn(runs: Sequence[Callable[[], object]], repetitions: int) -> list[float]:
    """Return the median seconds of each, run in turn so that all share what slows the machine."""
    seconds: list[list[float]] = [[] for _ in runs]
    for repetition in range(repetitions + 1):
        for run, found in zip(runs, seconds, strict=True):
            began = time.perf_counter()
            run()
            if repetition:  # the first makes caches
                found.append(time.perf_counter() - began)
    return [statistics.median(found) for found in seconds]


if __name__ == "__main__":
    main()
