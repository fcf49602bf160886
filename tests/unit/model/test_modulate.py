"""FiLM around the blocks of modules that others wrote."""

from __future__ import annotations

import copy
import inspect
import pickle
from collections import OrderedDict, namedtuple
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from taskaware.errors import CheckpointError, UnknownTaskError, UserError
from taskaware.model.modulate import TaskAware, modulate
from taskaware.model.settings import ConditioningSettings

# nn.Transformer says so of every layout that it has no fused path for.
pytestmark = pytest.mark.filterwarnings("ignore:enable_nested_tensor is True:UserWarning")

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


@pytest.mark.parametrize("by_name", [True, False], ids=["by name", "by position"])
@pytest.mark.parametrize("form", ["tensor", "tuple", "list", "named tuple", "mapping"])
def test_gamma_and_beta_act_on_what_enters_and_on_what_every_block_puts_out(
    form: str, by_name: bool
):
    stack = Stack(form, by_name=by_name)
    aware = modulate(stack, blocks={"stack": "blocks"}, d_model=D, tasks=TASKS)
    set_pairs(aware, "st", (3.0, 0.5))
    x = torch.randn(2, 5, D)
    with aware.task("st"):
        out = stack(x)
    entered = 3 * (x + 1) + 0.5
    expected = 3 * (2 * (3 * (2 * entered) + 0.5)) + 0.5
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(stack(x), 4 * (x + 1))


def test_places_are_counted_over_all_groups_with_the_entrance_of_each_first():
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.ModuleList([Block()]), nn.ModuleList([Block()])

        def forward(self, x: Tensor) -> Tensor:
            return self.second[0](self.first[0](x))

    two = Two()
    groups = {"first": "first", "second": [two.second[0]]}
    aware: Any = modulate(two, blocks=groups, d_model=D, tasks=TASKS, scope="per_block")
    assert aware.network.bias.numel() == 4 * 2 * D
    set_pairs(aware, "asr", (2.0, 1.0), (3.0, -1.0), (5.0, 2.0), (7.0, 4.0))
    x = torch.randn(2, 3, D)
    with aware.task("asr"):
        out = two(x)
    expected = 7 * (2 * (5 * (3 * (2 * (2 * x + 1)) - 1) + 2)) + 4
    torch.testing.assert_close(out, expected)


def test_every_example_may_have_a_task_of_its_own():
    stack, aware = stack_of()
    set_pairs(aware, "st", (3.0, 0.5))
    x = torch.randn(3, 5, D)
    with aware.task("st"):
        translated = stack(x)
    with aware.task(["st", "asr", "st"]):
        out = stack(x)
    torch.testing.assert_close(out[[0, 2]], translated[[0, 2]])
    torch.testing.assert_close(out[1], 4 * (x[1] + 1))


def test_a_with_inside_a_with_acts_alone_and_an_error_ends_both():
    stack, aware = stack_of()
    set_pairs(aware, "st", (3.0, 0.5))
    x = torch.randn(1, 2, D)
    with aware.task("st"):
        outside = stack(x)
        with aware.task("asr"):
            assert torch.equal(stack(x), 4 * (x + 1))
        assert torch.equal(stack(x), outside)
    with pytest.raises(RuntimeError, match="on purpose"), aware.task("st"), aware.task("asr"):
        raise RuntimeError("on purpose")
    assert torch.equal(stack(x), 4 * (x + 1))


@pytest.mark.parametrize("shape", [(2, D), (2, 3, D), (2, 3, 4, D)], ids=str)
def test_rows_of_any_number_of_axes_are_modulated(shape: tuple[int, ...]):
    stack, aware = stack_of()
    set_pairs(aware, "st", (3.0, 0.5))
    x = torch.randn(shape)
    with aware.task(["asr", "st"]):
        out = stack(x)
    torch.testing.assert_close(out[0], 4 * (x[0] + 1))
    entered = 3 * (x[1] + 1) + 0.5
    torch.testing.assert_close(out[1], 3 * (2 * (3 * (2 * entered) + 0.5)) + 0.5)


@LAYOUTS
def test_beams_of_an_example_follow_one_another_and_share_its_embedding(batch_first: bool):
    translator, aware = translator_of(batch_first=batch_first, network="implicit")
    drawn(aware)
    examples = padded_examples()
    embedding = aware.embed_examples(examples, **lengths(examples)).detach()
    beams = {name: ids.repeat_interleave(2, dim=0) for name, ids in examples.items()}
    with aware.embedding(embedding):
        out = translator(**beams)
    with aware.embedding(embedding.repeat_interleave(2, dim=0)):
        torch.testing.assert_close(out, translator(**beams))
    with aware.embedding(embedding.repeat(2, 1)):
        assert not torch.allclose(out, translator(**beams))


def test_gamma_and_beta_take_the_type_of_what_a_block_puts_out():
    stack, aware = stack_of()
    set_pairs(aware, "st", (3.0, 0.5))
    for dtype in (torch.bfloat16, torch.float64):
        x = torch.ones(1, 2, D, dtype=dtype)
        with aware.task("st"):
            assert stack(x).dtype == dtype


# At the start


@LAYOUTS
@NETWORKS
@pytest.mark.parametrize("scope", ["shared", "per_block"])
@pytest.mark.parametrize("train", ["everything", "task_network"])
def test_outputs_are_bitwise_those_of_the_unmodulated_module_at_initialisation(
    network: str, scope: str, train: str, batch_first: bool
):
    plain = Translator(batch_first=batch_first)
    translator = copy.deepcopy(plain)
    choices: dict[str, Any] = {"network": network, "scope": scope, "train": train}
    aware = modulate(
        translator,
        blocks=BLOCKS,
        tasks=TASKS,
        d_model=D,
        batch_first=batch_first,
        sizes=SMALL,
        **choices,
    )
    examples = padded_examples()
    if train == "task_network":  # PyTorch's products round otherwise where a weight is frozen
        plain.requires_grad_(False)
    with torch.set_grad_enabled(train == "everything"):
        expected = plain(**examples)
        assert torch.equal(translator(**examples), expected)
        with acts(aware, network, examples):
            assert torch.equal(translator(**examples), expected)


@LAYOUTS
@torch.inference_mode()
def test_inference_gives_the_same_where_pytorch_would_take_its_fused_path(batch_first: bool):
    plain = Translator(batch_first=batch_first).eval()
    translator = copy.deepcopy(plain)
    aware = modulate(translator, blocks=BLOCKS, tasks=TASKS, d_model=D, batch_first=batch_first)
    examples = padded_examples()
    with aware.task("st"):
        torch.testing.assert_close(translator(**examples), plain(**examples))


@NETWORKS
def test_the_gradient_reaches_the_last_layer_of_an_untrained_task_network(network: str):
    translator, aware = translator_of(network=network)
    examples = padded_examples()
    with acts(aware, network, examples):
        translator(**examples).square().mean().backward()
    explicit = network == "explicit"
    last = aware.network.rows[1] if explicit else aware.network.output.weight
    gradient = aware.network.rows.grad[1] if explicit else aware.network.output.weight.grad
    assert not last.any()
    assert gradient.abs().sum() > 0
    if explicit:
        assert not aware.network.rows.grad[0].any()  # the other task's


# What trains


@NETWORKS
def test_the_task_network_alone_is_trained_unless_everything_is_asked_for(network: str):
    translator, aware = translator_of(network=network)
    drawn(aware)
    names = {name for name, p in translator.named_parameters() if p.requires_grad}
    assert names == {f"task_aware.{name}" for name, _ in aware.named_parameters()}
    examples = padded_examples()
    with acts(aware, network, examples):
        translator(**examples).logsumexp(-1).mean().backward()
    assert {name for name, p in translator.named_parameters() if p.grad is not None} == names
    everything, _ = translator_of(network=network, train="everything")
    assert all(p.requires_grad for p in everything.parameters())


def test_one_with_may_hold_many_updates():
    stack, aware = stack_of()
    optimiser = torch.optim.SGD(aware.parameters(), lr=1e-3)
    x = torch.randn(2, 3, D)
    losses = []
    with aware.task("st"):
        for _ in range(5):
            loss = stack(x).square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(float(loss.detach()))
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < losses[0]


def test_it_follows_its_module_to_another_type_and_mode():
    translator, aware = translator_of(network="implicit")
    translator.double().train()
    assert aware.network.output.weight.dtype == torch.float64
    assert aware.network.training


# Saving, loading, copying, taking away


@NETWORKS
@torch.no_grad()
def test_the_state_without_our_keys_is_that_of_the_untouched_module(network: str):
    translator, aware = translator_of(network=network)
    drawn(aware)
    state = translator.state_dict()
    theirs = {k: v for k, v in state.items() if not k.startswith("task_aware.")}
    assert {k for k in state if k not in theirs} == {f"task_aware.{k}" for k in aware.state_dict()}
    untouched = Translator().requires_grad_(False)  # frozen weights round otherwise
    untouched.load_state_dict(theirs)
    examples = padded_examples()
    assert torch.equal(untouched(**examples), translator.train()(**examples))


@NETWORKS
def test_a_state_loads_into_a_freshly_modulated_module(network: str, tmp_path):
    safetensors = pytest.importorskip("safetensors.torch")
    translator, aware = translator_of(network=network)
    drawn(aware)
    examples = padded_examples()
    if network == "implicit":
        aware.remember("st", aware.embed_examples(examples, **lengths(examples)))
    safetensors.save_file(translator.state_dict(), tmp_path / "model.safetensors")
    fresh, fresh_aware = translator_of(network=network)
    fresh.load_state_dict(safetensors.load_file(tmp_path / "model.safetensors"))
    with aware.task("st"), fresh_aware.task("st"):
        modulated = translator(**examples)
        assert torch.equal(fresh(**examples), modulated)
    assert not torch.allclose(modulated, translator(**examples))


def test_the_state_of_other_tasks_or_of_another_order_is_refused():
    _, aware = translator_of()
    _, swapped = translator_of(tasks=TASKS[::-1])
    with pytest.raises(CheckpointError, match=r"\['st', 'asr'\] in this order, but is of"):
        swapped.load_state_dict(aware.state_dict())


@torch.no_grad()
@pytest.mark.parametrize("make", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_copy_has_a_task_network_of_its_own_and_hooks_that_use_it(make):
    translator, aware = translator_of()
    copied = make(translator)
    drawn(copied.task_aware)
    examples = padded_examples()
    plain = translator(**examples)
    with aware.task("st"):
        assert torch.equal(translator(**examples), plain)
        assert torch.equal(copied(**examples), plain)
    with copied.task_aware.task("st"):
        assert torch.equal(translator(**examples), plain)
        assert not torch.allclose(copied(**examples), plain)


def test_removing_gives_the_untouched_module_back():
    plain = Translator()
    plain.output.bias.requires_grad_(False)  # frozen by its owner
    translator = copy.deepcopy(plain)
    aware = modulate(translator, blocks=BLOCKS, tasks=TASKS, d_model=D)
    drawn(aware)
    with aware.task("st"), pytest.raises(UserError, match="outside of every `with`"):
        aware.remove()
    aware.remove()
    assert list(translator.state_dict()) == list(plain.state_dict())
    for (name, a), (_, b) in zip(translator.named_modules(), plain.named_modules(), strict=True):
        assert not a._forward_hooks, name
        assert not a._forward_pre_hooks, name
        assert getattr(a, "use_nested_tensor", None) == getattr(b, "use_nested_tensor", None)
    assert [p.requires_grad for p in translator.parameters()] == [
        p.requires_grad for p in plain.parameters()
    ]
    examples = padded_examples()
    assert torch.equal(translator(**examples), plain(**examples))
    with pytest.raises(UserError, match="was removed"), aware.task("st"):
        pass
    modulate(translator, blocks=BLOCKS, tasks=TASKS, d_model=D)


def test_a_compiled_module_sees_every_change_of_task():
    stack, aware = stack_of()
    set_pairs(aware, "st", (3.0, 0.5))
    set_pairs(aware, "asr", (2.0, 0.0))
    compiled = torch.compile(stack, backend="eager")
    x = torch.randn(2, 3, D)
    torch.testing.assert_close(compiled(x), stack(x))
    for task in ("st", "asr", "st"):
        with aware.task(task):
            torch.testing.assert_close(compiled(x), stack(x))
    torch.testing.assert_close(compiled(x), 4 * (x + 1))


# The implicit network


@LAYOUTS
def test_examples_are_embedded_from_what_enters_encoder_and_decoder(batch_first: bool):
    translator, aware = translator_of(batch_first=batch_first, network="implicit")
    drawn(aware)
    examples = padded_examples()
    translator.transformer.decoder.register_forward_hook(lambda *_: pytest.fail("it ran on"))
    known = lengths(examples)
    embedding = aware.embed_examples(examples, **known)
    expected = aware.embed(
        translator.embedding(examples["source"]), known["source_lengths"],
        translator.embedding(examples["target"]), known["target_lengths"],
    )  # fmt: skip
    assert torch.equal(embedding, expected)
    masks = {f"{side}_lengths": ids > 0 for side, ids in examples.items()}
    assert torch.equal(aware.embed_examples(examples, **masks), embedding)
    with aware.embedding(embedding[:2]):  # whatever acts outside, the examples are not modulated
        assert torch.equal(aware.embed_examples(examples, **known), embedding)


def test_more_padding_never_changes_an_embedding():
    _, aware = translator_of(network="implicit")
    drawn(aware)
    examples = padded_examples()
    known = lengths(examples)
    embedding = aware.embed_examples(examples, **known)
    longer = {side: nn.functional.pad(ids, (0, 3)) for side, ids in examples.items()}
    torch.testing.assert_close(aware.embed_examples(longer, **known), embedding)
    # Without lengths the padding would be read.
    assert not torch.allclose(aware.embed_examples(longer), embedding)
    whole = {side: ids[:1] for side, ids in examples.items()}
    torch.testing.assert_close(aware.embed_examples(whole), embedding[:1])


def test_a_permuted_support_modulates_each_example_by_another():
    translator, aware = translator_of(network="implicit")
    drawn(aware)
    examples = padded_examples()
    embedding = aware.embed_examples(examples, **lengths(examples))
    permutation = torch.tensor([2, 0, 1])
    with aware.embedding(embedding[permutation]):
        out = translator(**examples)
    for row, other in enumerate(permutation):
        with aware.embedding(embedding[other][None]):
            torch.testing.assert_close(out[row], translator(**examples)[row])


@pytest.mark.parametrize("reaches", [False, True])
def test_the_gradient_of_an_embedding_reaches_the_preprocessing_layers_if_asked(reaches: bool):
    translator, aware = translator_of(network="implicit", train="everything")
    drawn(aware)
    examples = padded_examples()
    aware.embed_examples(examples, gradient_reaches_module=reaches).sum().backward()
    trained = {name for name, p in translator.named_parameters() if p.grad is not None}
    assert {f"task_aware.{name}" for name, _ in aware.named_parameters()} <= trained
    assert ("embedding.weight" in trained) is reaches
    assert not any(name.startswith("transformer.") for name in trained)


def test_a_block_that_changes_its_input_in_place_does_not_change_what_was_read():
    class InPlace(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block = nn.Linear(D, D)

        def forward(self, x: Tensor) -> Tensor:
            x += 1
            return self.block(x)

    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder, self.decoder = InPlace(), InPlace()

        def forward(self, source: Tensor, target: Tensor) -> Tensor:
            self.encoder(source.clone())
            return self.decoder(target.clone())

    both = Both().eval()
    aware = modulate(
        both, blocks={"encoder": ["encoder"], "decoder": ["decoder"]}, d_model=D,
        network="implicit", sizes=SMALL,
    )  # fmt: skip
    drawn(aware)
    x, y = torch.randn(2, 3, D), torch.randn(2, 4, D)
    all_valid = torch.full((2,), 3), torch.full((2,), 4)
    embedding = aware.embed_examples({"source": x, "target": y})
    torch.testing.assert_close(embedding, aware.embed(x, all_valid[0], y, all_valid[1]))


def test_a_remembered_task_is_modulated_by_the_mean_of_its_embeddings():
    translator, aware = translator_of(network="implicit")
    drawn(aware)
    examples = padded_examples()
    embedding = aware.embed_examples(examples, **lengths(examples))
    with pytest.raises(UnknownTaskError, match=r"'st' must be remembered"), aware.task("st"):
        pass
    aware.remember("st", embedding)
    with aware.task("st"):
        out = translator(**examples)
    with aware.embedding(embedding.mean(dim=0, keepdim=True)):
        torch.testing.assert_close(out, translator(**examples))


# Mistakes


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
