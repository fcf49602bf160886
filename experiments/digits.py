"""Handwritten digits named in the language asked for: task awareness where nothing is speech.

    python experiments/digits.py

A plain nn.Transformer reads a digit as eight rows of eight numbers and spells its name. It is
trained on English and German names together, once as it is and once with `taskaware.modulate`
around its blocks. The images are those of scikit-learn (UCI, 1,797 of them), a fifth is held out.
"""

from __future__ import annotations

import argparse
import time
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn

from taskaware import modulate

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

NAMES = {
    "english": ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"],
    "german": ["null", "eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun"],
}
LETTERS = sorted({letter for names in NAMES.values() for name in names for letter in name})
PAD, BEGIN, END = 0, 1, 2
LONGEST = max(len(name) for names in NAMES.values() for name in names) + 1  # and the end


class Speller(nn.Module):
    """Images ``[B, 8, 8]`` and letters so far, int64 ``[B, T]``, to logits ``[B, T, letters]``."""

    def __init__(self, d_model: int = 64, num_layers: int = 2) -> None:
        super().__init__()
        self.rows = nn.Linear(8, d_model)
        self.row_positions = nn.Parameter(0.1 * torch.randn(8, d_model))
        self.letters = nn.Embedding(3 + len(LETTERS), d_model)
        self.letter_positions = nn.Parameter(0.1 * torch.randn(LONGEST, d_model))
        self.transformer = nn.Transformer(
            d_model, 4, num_layers, num_layers, 2 * d_model, dropout=0.0, batch_first=True
        )
        self.output = nn.Linear(d_model, 3 + len(LETTERS))

    def forward(self, images: Tensor, letters: Tensor) -> Tensor:
        """Return the logits of the letter after each of ``letters``."""
        num_letters = letters.shape[1]
        causal = torch.ones(num_letters, num_letters).triu(1).bool()
        source = self.rows(images) + self.row_positions
        target = self.letters(letters) + self.letter_positions[:num_letters]
        return self.output(self.transformer(source, target, tgt_mask=causal, tgt_is_causal=True))

    @torch.inference_mode()
    def spell(self, images: Tensor) -> list[str]:
        """Return the most probable name of each image, letter by letter."""
        letters = torch.full((len(images), 1), BEGIN)
        for _ in range(LONGEST):
            letters = torch.cat([letters, self(images, letters)[:, -1:].argmax(-1)], dim=1)
        return [to_name(row) for row in letters[:, 1:].tolist()]


@dataclass
class Digits:
    """Images, float ``[B, 8, 8]`` from 0 to 1, and what they show."""

    images: Tensor
    labels: Tensor

    def __getitem__(self, which: Tensor | slice) -> Digits:
        return Digits(self.images[which], self.labels[which])


def to_name(letters: list[int]) -> str:
    """Spell letter numbers up to the end."""
    letters = letters[: letters.index(END)] if END in letters else letters
    return "".join(LETTERS[letter - 3] if letter > END else "?" for letter in letters)


def targets(language: str) -> Tensor:
    """Return the letters of the ten names, int64 ``[10, LONGEST]``, ended and padded."""
    rows = [[3 + LETTERS.index(letter) for letter in name] + [END] for name in NAMES[language]]
    return torch.tensor([row + [PAD] * (LONGEST - len(row)) for row in rows])


def held_out_split(seed: int) -> tuple[Digits, Digits]:
    """Return training and held-out digits."""
    pixels, shown = load_digits(return_X_y=True)  # 64 numbers from 0 to 16 each
    order = torch.randperm(len(shown), generator=torch.Generator().manual_seed(seed))
    images = torch.tensor(pixels, dtype=torch.float32).view(-1, 8, 8)[order] / 16
    digits = Digits(images, torch.tensor(shown)[order])
    num_held_out = len(order) // 5
    return digits[num_held_out:], digits[:num_held_out]


def train(*, with_tasks: bool, num_updates: int, seed: int) -> dict[str, float]:
    """Train on both languages; return the share of held-out digits named rightly in each."""
    torch.manual_seed(seed)
    training, held_out = held_out_split(seed)
    model = Speller()
    if with_tasks:
        modulate(
            model,
            blocks={
                "encoder": "transformer.encoder.layers",
                "decoder": "transformer.decoder.layers",
            },
            d_model=64,
            tasks=tuple(NAMES),
            train="everything",
        )

    def asked(language: str) -> AbstractContextManager[None]:
        return model.task_aware.task(language) if with_tasks else nullcontext()  # type: ignore

    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=num_updates)
    spelled = {language: targets(language) for language in NAMES}
    for _ in range(num_updates):
        optimiser.zero_grad()
        for language in NAMES:
            batch = training[torch.randint(len(training.labels), (64,))]
            target = spelled[language][batch.labels]
            begun = F.pad(target[:, :-1], (1, 0), value=BEGIN)
            with asked(language):
                logits = model(batch.images, begun)
            F.cross_entropy(logits.flatten(0, 1), target.flatten(), ignore_index=PAD).backward()
        optimiser.step()
        schedule.step()
    model.eval()
    accuracy = {}
    for language, names in NAMES.items():
        with asked(language):
            said = model.spell(held_out.images)
        right = [
            names[int(label)] == name for label, name in zip(held_out.labels, said, strict=True)
        ]
        accuracy[language] = sum(right) / len(right)
    return accuracy


def main() -> None:
    """Train both models and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--updates", type=int, default=250, help="updates of both languages each")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(f"{'':18}" + "".join(f"{language:>10}" for language in NAMES) + f"{'seconds':>10}")
    for with_tasks in (False, True):
        started = time.perf_counter()
        accuracy = train(with_tasks=with_tasks, num_updates=options.updates, seed=options.seed)
        seconds = time.perf_counter() - started
        name = "with modulate" if with_tasks else "without"
        shares = "".join(f"{100 * share:9.1f}%" for share in accuracy.values())
        print(f"{name:18}{shares}{seconds:10.1f}")


if __name__ == "__main__":
    main()
