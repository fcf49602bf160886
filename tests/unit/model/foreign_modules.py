"""Modules that others wrote, to be modulated, and what several tests ask of them."""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from taskaware.model.conditioning_settings import ConditioningSettings
from taskaware.model.modulate import TaskAware, modulate

D = 8
TASKS = ("asr", "st")
SMALL = ConditioningSettings(d_task=8, d_task_ff=16, num_task_heads=2)
Pair = namedtuple("Pair", ["hidden", "weights"])


class Block(nn.Module):
    """Doubles its input and gives it in the form that is asked for."""

    def __init__(self, form: str = "tensor") -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(2.0))
        self.form = form

    def forward(self, hidden_states: Tensor) -> Any:
        out = self.scale * hidden_states
        forms = {
            "tensor": out,
            "tuple": (out, None, "more"),
            "list": [out, None],
            "named tuple": Pair(out, None),
            "mapping": OrderedDict(hidden=out, weights=None),
        }
        return forms[self.form]


class Stack(nn.Module):
    """Adds one to its input, then runs two blocks, their sequence given by name or by position."""

    def __init__(self, form: str = "tensor", *, by_name: bool = False) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([Block(form), Block(form)])
        self.by_name = by_name

    def forward(self, x: Tensor) -> Tensor:
        x = x + 1
        for block in self.blocks:
            out = block(hidden_states=x) if self.by_name else block(x)
            x = next(iter(out.values())) if isinstance(out, dict) else out
            x = x if isinstance(x, Tensor) else x[0]
        return x


def stack_of(**choices: Any) -> tuple[Stack, Any]:
    stack = Stack()
    return stack, modulate(stack, blocks={"stack": "blocks"}, d_model=D, tasks=TASKS, **choices)


def set_pairs(aware: Any, task: str, *pairs: tuple[float, float]) -> None:
    """Give a task (gamma, beta) at each place, by hand."""
    numbers = torch.tensor(pairs).repeat_interleave(D, dim=1).flatten()
    with torch.no_grad():
        aware.network.rows[aware.tasks.index(task)] = numbers - aware.network.bias


class Translator(nn.Module):
    """An ``nn.Transformer`` between an embedding and a softmax; padding is 0."""

    def __init__(self, *, batch_first: bool = True) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, D)
        self.transformer = nn.Transformer(
            D, 2, 2, 2, dim_feedforward=16, dropout=0.0, batch_first=batch_first
        )
        self.output = nn.Linear(D, 11)
        self.batch_first = batch_first

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """Return logits ``[B, T, 11]`` from int64 ``[B, S]`` and ``[B, T]``."""
        x, y = self.embedding(source), self.embedding(target)
        if not self.batch_first:
            x, y = x.transpose(0, 1), y.transpose(0, 1)
        causal = nn.Transformer.generate_square_subsequent_mask(target.shape[1]).isinf()
        out = self.transformer(
            x,
            y,
            tgt_mask=causal,
            src_key_padding_mask=source == 0,
            memory_key_padding_mask=source == 0,
            tgt_key_padding_mask=target == 0,
        )
        return self.output(out if self.batch_first else out.transpose(0, 1))


BLOCKS = {"encoder": "transformer.encoder.layers", "decoder": "transformer.decoder.layers"}
LAYOUTS = pytest.mark.parametrize("batch_first", [True, False], ids=["B S D", "S B D"])
NETWORKS = pytest.mark.parametrize("network", ["explicit", "implicit"])


def translator_of(*, batch_first: bool = True, **choices: Any) -> tuple[Translator, Any]:
    translator = Translator(batch_first=batch_first).eval()
    choices = {"tasks": TASKS, "d_model": D, "sizes": SMALL, "blocks": BLOCKS} | choices
    return translator, modulate(translator, batch_first=batch_first, **choices)


def padded_examples() -> dict[str, Tensor]:
    source = torch.tensor([[3, 4, 5, 6], [7, 8, 0, 0], [9, 10, 3, 0]])
    target = torch.tensor([[1, 4, 5], [1, 7, 0], [1, 2, 2]])
    return {"source": source, "target": target}


def lengths(examples: dict[str, Tensor]) -> dict[str, Any]:
    return {f"{side}_lengths": (ids > 0).sum(dim=1) for side, ids in examples.items()}


def drawn(aware: TaskAware) -> None:
    """Weights as after a training: a task network that is no identity any more."""
    with torch.no_grad():
        for parameter in aware.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))


def acts(aware: TaskAware, network: str, examples: dict[str, Tensor]) -> Any:
    """A ``with`` that modulates by a task (explicit) or by the examples (implicit)."""
    if network == "explicit":
        return aware.task("st")
    return aware.embedding(aware.embed_examples(examples, **lengths(examples)))


# What equation 7 says, calculated by hand
