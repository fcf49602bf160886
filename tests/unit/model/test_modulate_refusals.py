"""What cannot be modulated, or not in this way, is refused with what must be and what is."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
from foreign_modules import (
    BLOCKS,
    SMALL,
    TASKS,
    D,
    Stack,
    Translator,
    padded_examples,
    stack_of,
    translator_of,
)
from torch import nn

from taskaware.errors import UnknownTaskError, UserError
from taskaware.model.conditioning_settings import ConditioningSettings
from taskaware.model.modulate import modulate

# nn.Transformer says so of every layout that it has no fused path for.
pytestmark = pytest.mark.filterwarnings("ignore:enable_nested_tensor is True:UserWarning")


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"blocks": {}}, "`blocks` must hold at least one block"),
        ({"blocks": {"encoder": []}}, "group 'encoder' of `blocks` must hold at least one"),
        (
            {"blocks": {"encoder": "transformer.encoder.layer"}},
            r"has no 'transformer.encoder.layer' \(did you mean 'transformer.encoder.layers'",
        ),
        ({"blocks": {"encoder": "transformer.encoder"}}, "must name an nn.ModuleList"),
        ({"blocks": {"encoder": ["embedding", "embedding"]}}, "Embedding is used twice"),
        ({"blocks": {"encoder": [nn.Linear(2, 2)]}}, "Linear is no part of the module"),
        ({"d_model": None}, "`d_model` must be given"),
        ({"tasks": ()}, "at least one task"),
        ({"tasks": ("st", "st")}, "must be different names"),
        ({"network": "explict"}, r"but is 'explict' instead \(did you mean 'explicit'"),
        ({"scope": "per block"}, "`scope` must be one of"),
        ({"train": "nothing"}, "`train` must be one of"),
        (
            {"network": "implicit", "sizes": ConditioningSettings(d_task=7)},
            "`d_task` must be a multiple",
        ),
    ],
)
def test_an_impossible_request_is_refused_and_leaves_the_module_alone(choices, message: str):
    translator = Translator()
    with pytest.raises(UserError, match=message):
        modulate(translator, **({"blocks": BLOCKS, "tasks": TASKS, "d_model": D} | choices))
    assert not hasattr(translator, "task_aware")
    assert all(p.requires_grad for p in translator.parameters())


def test_modulating_twice_is_refused():
    translator, _ = translator_of()
    with pytest.raises(UserError, match="must not be modulated yet"):
        modulate(translator, blocks=BLOCKS, tasks=TASKS, d_model=D)
    with pytest.raises(UserError, match="must not be modulated yet"):
        modulate(nn.Sequential(translator), blocks={"all": ["0"]}, tasks=TASKS, d_model=D)


def test_the_width_is_that_of_the_config_or_of_the_module():
    stack = Stack()
    stack.config = type("Config", (), {"hidden_size": D})()  # type: ignore[assignment]
    aware: Any = modulate(stack, blocks={"stack": "blocks"}, tasks=TASKS)
    assert aware.network.bias.numel() == 2 * D
    transformer = nn.Transformer(D, 2, 1, 1, 16, batch_first=True)
    aware = modulate(transformer, blocks={"encoder": "encoder.layers"}, tasks=TASKS)
    assert aware.network.bias.numel() == 2 * D


def test_mistakes_of_use_say_what_must_be_and_what_is():
    translator, aware = translator_of(network="implicit", tasks=("st",))
    examples = padded_examples()
    with pytest.raises(UserError, match=r"must be \[B, 16\], but is \[16\]"):
        aware.embedding(torch.zeros(16)).__enter__()
    with pytest.raises(UserError, match=r"must be \[B, 16\], but is \[2, 8\]"):
        aware.remember("st", torch.zeros(2, 8))
    with pytest.raises(UnknownTaskError, match=r"'sst' instead \(did you mean 'st'"):
        aware.task("sst").__enter__()
    with aware.embedding(torch.zeros(2, 16)), pytest.raises(UserError, match="has 3 rows"):
        translator(**examples)
    with pytest.raises(UserError, match="padding at the end"):
        aware.embed_examples(examples, source_lengths=torch.tensor([[0, 1, 1, 1]] * 3))
    for wrong in ([0, 1, 1], [5, 1, 1], [1, 1], [1.0, 1.0, 1.0]):
        with pytest.raises(UserError, match=r"\[3\] whole numbers from 1 to 4"):
            aware.embed_examples(examples, source_lengths=torch.tensor(wrong))
    explicit = translator_of()[1]
    for ask in (
        lambda: explicit.embed_examples(examples),
        lambda: explicit.remember("st", torch.zeros(1, 16)),
    ):
        with pytest.raises(UserError, match="only an implicit network reads examples"):
            ask()


def test_blocks_that_do_not_fit_are_named_when_they_run():
    stack, aware = stack_of()
    with aware.task("st"), pytest.raises(UserError, match=r"entrance of group 'stack' has 5"):
        stack(torch.zeros(1, 2, 5))
    narrow = nn.Sequential(nn.Linear(D, 4))
    aware = modulate(narrow, blocks={"stack": ["0"]}, d_model=D, tasks=TASKS)
    with aware.task("st"), pytest.raises(UserError, match=r"\(8\), but block '0' has 4"):
        narrow(torch.zeros(1, 2, D))
    stack = Stack()
    stack.blocks[0].forward = lambda hidden_states: "text"  # type: ignore[method-assign]
    aware = modulate(stack, blocks={"stack": "blocks"}, d_model=D, tasks=TASKS)
    with aware.task("st"), pytest.raises(UserError, match=r"'blocks.0' must return a tensor"):
        stack(torch.zeros(1, 2, D))
    _, aware = stack_of(network="implicit", sizes=SMALL)
    with pytest.raises(UserError, match="group 'encoder' run, but its first block did not"):
        aware.embed_examples({"x": torch.zeros(1, 2, D)})


def test_the_module_is_no_submodule_of_its_task_network():
    translator, aware = translator_of()
    assert not any(isinstance(m, Translator) for m in aware.modules())
    assert sum(m is aware for m in translator.modules()) == 1
    assert "module" in inspect.signature(modulate).parameters
