"""What 1, 4, 16 and 64 pairs tell a trained model of a task that it was never trained on.

::

    python experiments/few_pairs.py runs/demo/implicit --corpus runs/demo/corpus

RUN is a finished run with an implicit task network, ``--corpus`` a folder with ``train.tsv`` and
``test.tsv`` as the demo writes them. The new tasks are made of the corpus: English text written
again (a direction that training never saw), German of English text in capitals (a style), and the
words of the German in reverse order (an order). For each, with pairs drawn three times:

- a tag: the t_e of the known task with the same kind of source that scores best, as a tag can say
  nothing else;
- told: t_e computed from the pairs, nothing is trained;
- trained: that t_e as a vector, trained on the pairs alone (Adam, the rest is frozen).

Printed: BLEU on test examples, mean and standard deviation over the three draws, as a Markdown
table.
"""

from __future__ import annotations

import argparse
import csv
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from taskaware.data.batches.batching import collate
from taskaware.decoding.settings import with_beam
from taskaware.evaluation.metrics import bleu
from taskaware.inference.model import load
from taskaware.training.joint import transformed_loss
from taskaware.training.settings import ObjectiveSettings
from taskaware.types import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from taskaware.inference.model import TaskAwareModel

SIZES = (1, 4, 16, 64)
DRAWS = 3
KNOWN = "mt_en_de"  # whose sources the new tasks have
PLAIN = ObjectiveSettings(label_smoothing=0.1, film_penalty=0.0, ctc_weight=0.0)


@dataclass(frozen=True)
class NewTask:
    """A task that training never saw.

    Attributes:
        name: In the table.
        target: From source and German to what must be written.
    """

    name: str
    target: Callable[[str, str], str]


NEW_TASKS = (
    NewTask("English, written again", lambda source, german: source),
    NewTask("German in capitals", lambda source, german: german.upper()),
    NewTask("German, words reversed", lambda source, german: " ".join(german.split()[::-1])),
)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="A new task from a few pairs.")
    parser.add_argument("run", type=Path)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--updates", type=int, default=60, help="of the vector")
    parser.add_argument("--learning-rate", type=float, default=0.02, help="of the vector")
    parser.add_argument("--test", type=int, default=100, help="test examples of a task")
    arguments = parser.parse_args()
    model = load(arguments.run)
    train, test = (read_pairs(arguments.corpus / f"{name}.tsv") for name in ("train", "test"))
    test = test[: arguments.test]
    print("| task | pairs | a tag | told | trained |\n|---|---:|---:|---:|---:|")
    for task in NEW_TASKS:
        pairs = [(source, task.target(source, german)) for source, german in test]
        tag = max(score(model, pairs, known) for known in known_embeddings(model))
        for size in SIZES:
            told, trained = [], []
            for draw in range(DRAWS):
                random = np.random.default_rng([size, draw])
                chosen = random.choice(len(train), size=size, replace=False)
                shown = [(train[i][0], task.target(*train[i])) for i in chosen]
                texts = [(Text(source), target) for source, target in shown]
                embedding = model.embed_task(texts, task=KNOWN)
                told.append(score(model, pairs, embedding))
                vector = train_vector(
                    model,
                    shown,
                    embedding,
                    updates=arguments.updates,
                    learning_rate=arguments.learning_rate,
                )
                trained.append(score(model, pairs, vector))
            line = f"| {task.name} | {size} | {tag:.1f} | {spread(told)} | {spread(trained)} |"
            print(line, flush=True)


def read_pairs(path: Path) -> list[tuple[str, str]]:
    """Return English and German of the corpus's text translation."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        return [(r["source_text"], r["target_text"]) for r in rows if r["task"] == KNOWN]


def known_embeddings(model: TaskAwareModel) -> list[Tensor]:
    """Return the t_e of every task that the model was trained on."""
    return list(model.task_embeddings.values())


def score(model: TaskAwareModel, pairs: Sequence[tuple[str, str]], embedding: Tensor) -> float:
    """Return BLEU of greedy outputs under a t_e ``[1, O]``."""
    found = model.run(
        KNOWN,
        [Text(source) for source, _ in pairs],
        task_embedding=embedding,
        decoding=with_beam(model.decoding, 1),
    )
    return bleu(found, [target for _, target in pairs]).value


def train_vector(
    model: TaskAwareModel,
    pairs: Sequence[tuple[str, str]],
    embedding: Tensor,
    *,
    updates: int,
    learning_rate: float,
) -> Tensor:
    """Return the t_e ``[1, O]`` trained on pairs, from a first one; nothing else is changed."""
    task = model.task(KNOWN)
    batch = collate(
        task,
        [np.array(model.vocabulary.encode_source(source), dtype=np.int64) for source, _ in pairs],
        [np.array(model.vocabulary.encode(target), dtype=np.int64) for _, target in pairs],
        cue=model.cue(task),
    )
    vector = torch.nn.Parameter(embedding.clone())
    optimiser = torch.optim.Adam([vector], lr=learning_rate)
    for _ in range(updates):
        optimiser.zero_grad()
        with torch.no_grad():
            preprocessed = model.transformer.preprocess(batch)
        loss = transformed_loss(model.transformer, batch, preprocessed, vector, objective=PLAIN)
        (gradient,) = torch.autograd.grad(loss.total, [vector])
        vector.grad = gradient
        optimiser.step()
    return vector.detach()


def spread(values: Sequence[float]) -> str:
    """Return mean and sample standard deviation."""
    return f"{statistics.fmean(values):.1f} ± {statistics.stdev(values):.1f}"


if __name__ == "__main__":
    main()
