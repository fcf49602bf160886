"""`modulate` around models that others wrote, and a task that has nothing to do with speech.

The models of Hugging Face Transformers are small and random; nothing is downloaded.
"""

from __future__ import annotations

import copy
import importlib.util
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from taskaware.model.conditioning_settings import ConditioningSettings
from taskaware.model.modulate import modulate

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing is ever downloaded
transformers = pytest.importorskip("transformers", reason="the other implementation is not there")

ROOT = Path(__file__).resolve().parents[2]
PAD, BOS, EOS = 0, 1, 2
NUM_PIECES, D, NUM_BINS = 24, 16, 8
TASKS = ("first", "second")
SMALL = ConditioningSettings(d_task=32, d_task_ff=64, num_task_heads=2)
WANTED = {  # what each task is to say of whatever source
    "first": torch.tensor([[5, 6, 7, 8, EOS]] * 3),
    "second": torch.tensor([[9, 8, 7, 10, EOS]] * 3),
}
LAYERS = {"encoder": "model.encoder.layers", "decoder": "model.decoder.layers"}
BLOCKS = {
    "Whisper": LAYERS,
    "Speech2Text": LAYERS,
    "Marian": LAYERS,
    "T5": {"encoder": "encoder.block", "decoder": "decoder.block"},
}
KINDS = pytest.mark.parametrize("kind", list(BLOCKS))
NETWORKS = pytest.mark.parametrize("network", ["explicit", "implicit"])
SIZES = {
    "vocab_size": NUM_PIECES,
    "d_model": D,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "dropout": 0.0,
    "pad_token_id": PAD,
    "bos_token_id": BOS,
    "eos_token_id": EOS,
    "decoder_start_token_id": BOS,
    "max_target_positions": 30,
}


def foreign(kind: str) -> Any:
    """A model of another library, with random weights that are large enough to differ."""
    match kind:
        case "Whisper":
            config = transformers.WhisperConfig(
                **SIZES, num_mel_bins=NUM_BINS, max_source_positions=10
            )
            model = transformers.WhisperForConditionalGeneration(config)
        case "Speech2Text":
            config = transformers.Speech2TextConfig(
                **SIZES, input_feat_per_channel=NUM_BINS, conv_channels=16, max_source_positions=40
            )
            model = transformers.Speech2TextForConditionalGeneration(config)
        case "Marian":
            sizes = SIZES | {"max_position_embeddings": 30, "forced_eos_token_id": None}
            model = transformers.MarianMTModel(transformers.MarianConfig(**sizes))
        case _:
            config = transformers.T5Config(
                vocab_size=NUM_PIECES,
                d_model=D,
                d_kv=8,
                d_ff=32,
                num_layers=2,
                num_heads=2,
                dropout_rate=0.0,
                pad_token_id=PAD,
                eos_token_id=EOS,
                decoder_start_token_id=BOS,
            )
            model = transformers.T5ForConditionalGeneration(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def source_of(kind: str, *, num_examples: int = 3) -> dict[str, Tensor]:
    """What a model of this kind reads, the last example shorter than the others."""
    if kind == "Whisper":
        return {"input_features": torch.randn(num_examples, NUM_BINS, 20)}
    valid = torch.ones(num_examples, 20, dtype=torch.int64)
    valid[-1, 12:] = 0
    if kind == "Speech2Text":
        features = torch.randn(num_examples, 20, NUM_BINS) * valid[..., None]
        return {"input_features": features, "attention_mask": valid}
    pieces = torch.randint(3, NUM_PIECES, (num_examples, 20)) * valid
    return {"input_ids": pieces, "attention_mask": valid}


def labels_of(*, num_examples: int = 3) -> Tensor:
    return torch.randint(3, NUM_PIECES, (num_examples, 6))


def modulated(kind: str, model: Any, **choices: Any) -> Any:
    return modulate(model, blocks=BLOCKS[kind], tasks=TASKS, sizes=SMALL, **choices)


def drawn(aware: Any) -> None:
    """Weights as after a training."""
    with torch.no_grad():
        for parameter in aware.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))


def generated(model: Any, source: dict[str, Tensor], *, num_beams: int = 3) -> Tensor:
    return model.generate(**source, num_beams=num_beams, max_new_tokens=8, do_sample=False)


def said(model: Any, source: dict[str, Tensor]) -> list[list[int]]:
    """The pieces of each example, from behind the start (which Whisper leaves out) to the end."""
    rows = [row[1:] if row[0] == BOS else row for row in generated(model, source).tolist()]
    return [[*row[: row.index(EOS)], EOS] if EOS in row else [*row, EOS] for row in rows]


@KINDS
@NETWORKS
@pytest.mark.parametrize("scope", ["shared", "per_block"])
@torch.no_grad()
def test_logits_and_beams_are_bitwise_unchanged_at_initialisation(
    kind: str, network: str, scope: Any
):
    # Frozen as ours will be: PyTorch's products round otherwise where a weight is frozen.
    model = foreign(kind).requires_grad_(False)
    source, labels = source_of(kind), labels_of()
    logits, pieces = model(**source, labels=labels).logits, generated(model, source)
    aware = modulated(kind, model, network=network, scope=scope)
    if network == "implicit":
        aware.remember("second", aware.embed_examples({**source, "labels": labels}))
    assert torch.equal(model(**source, labels=labels).logits, logits)
    with aware.task("second"):
        assert torch.equal(model(**source, labels=labels).logits, logits)
        assert torch.equal(generated(model, source), pieces)


@KINDS
@torch.no_grad()
def test_everything_around_the_blocks_is_modulated_once_and_the_last_norms_are_not(kind: str):
    model = foreign(kind)
    aware = modulated(kind, model)
    drawn(aware)
    labels = labels_of()
    source = source_of(kind)
    entered: dict[str, list[Tensor]] = {}
    seen: dict[str, list[Tensor]] = {}

    def first(out: Any) -> Tensor:
        return out if isinstance(out, Tensor) else out[0]

    for group, name in BLOCKS[kind].items():
        blocks = list(model.get_submodule(name))
        for block in blocks:
            # After ours, so that they see what the next block reads.
            block.register_forward_hook(
                lambda _block, _args, out, g=group: seen.setdefault(g, []).append(first(out))
            )
            block.register_forward_pre_hook(
                lambda _block, args, kwargs, g=group: entered.setdefault(g, []).append(
                    args[0] if args else kwargs["hidden_states"]
                ),
                with_kwargs=True,
            )
    model(**source, labels=labels)
    plain_entered, plain_seen = dict(entered), dict(seen)
    entered.clear()
    seen.clear()
    gamma, beta = aware.network(torch.tensor([1])).chunk(2, dim=1)
    with aware.task("second"):
        model(**source, labels=labels)
    for group, name in BLOCKS[kind].items():
        blocks = model.get_submodule(name)
        assert len(seen[group]) == len(plain_seen[group]) == len(blocks)
        torch.testing.assert_close(entered[group][0], gamma * plain_entered[group][0] + beta)
        torch.testing.assert_close(entered[group][1:], seen[group][:-1])


@KINDS
@NETWORKS
@torch.no_grad()
def test_the_state_is_the_models_own_and_ours_and_both_load(kind: str, network: Any, tmp_path):
    model = foreign(kind)
    aware = modulated(kind, model, network=network, train="everything")
    drawn(aware)
    source, labels = source_of(kind), labels_of()
    if network == "implicit":
        aware.remember("second", aware.embed_examples({**source, "labels": labels}))
    with aware.task("second"):
        expected = model(**source, labels=labels).logits
    state = model.state_dict()
    untouched = type(model)(model.config).eval()
    untouched.load_state_dict({k: v for k, v in state.items() if not k.startswith("task_aware.")})
    assert torch.equal(
        untouched(**source, labels=labels).logits, model(**source, labels=labels).logits
    )
    # The library's own way to save: safetensors, with its tied weights.
    model.save_pretrained(tmp_path)
    safetensors = pytest.importorskip("safetensors.torch")
    saved = safetensors.load_file(tmp_path / "model.safetensors")
    ours = {k.removeprefix("task_aware."): v for k, v in saved.items() if "task_aware." in k}
    again = modulated(kind, untouched, network=network, train="everything")
    again.load_state_dict(ours)
    with again.task("second"):
        assert torch.equal(untouched(**source, labels=labels).logits, expected)


@KINDS
def test_the_task_network_alone_learns_two_contradictory_targets(kind: str):
    model = foreign(kind)
    aware = modulated(kind, model, scope="per_block")
    frozen = copy.deepcopy({k: v for k, v in model.state_dict().items() if "task_aware" not in k})
    source = source_of(kind)
    optimiser = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=5e-2)
    assert {id(p) for p in optimiser.param_groups[0]["params"]} == {
        id(p) for p in aware.parameters()
    }
    for _ in range(100):
        optimiser.zero_grad()
        for task in TASKS:
            with aware.task(task):
                model(**source, labels=WANTED[task]).loss.backward()
        optimiser.step()
    for task in TASKS:
        with aware.task(task):
            assert said(model, source) == WANTED[task].tolist()
    assert all(torch.equal(frozen[k], v) for k, v in model.state_dict().items() if k in frozen)


@KINDS
def test_beams_of_a_batch_are_those_of_its_examples_alone(kind: str):
    model = foreign(kind)
    aware = modulated(kind, model, network="implicit")
    drawn(aware)
    source = {name: values[:2] for name, values in source_of(kind).items()}
    embedding = aware.embed_examples({**source, "labels": labels_of(num_examples=2)}).detach()
    embedding[1] = 1.5 - embedding[0]  # as different as two tasks
    with aware.embedding(embedding):
        both = generated(model, source)
    plain = generated(model, source)
    for row in range(2):
        with aware.embedding(embedding[row : row + 1]):
            alone = generated(model, {k: v[row : row + 1] for k, v in source.items()})
        width = min(both.shape[1], alone.shape[1])
        assert torch.equal(both[row, :width], alone[0, :width])
    assert not torch.equal(both, plain)


@KINDS
def test_an_implicit_network_learns_from_other_examples_which_target_is_meant(kind: str):
    model = foreign(kind).train()
    with torch.no_grad():  # pieces that differ, so that a hundred updates are enough
        for name, parameter in model.named_parameters():
            if "shared" in name or "embed_tokens" in name:
                parameter.add_(torch.randn_like(parameter))
    aware = modulated(kind, model, network="implicit", train="everything")
    source = source_of(kind)
    optimiser = torch.optim.Adam(model.parameters(), lr=5e-3)
    permutation = torch.tensor([1, 2, 0])
    for _ in range(100):
        optimiser.zero_grad()
        for task in TASKS:
            batch = {**source, "labels": WANTED[task]}
            with aware.embedding(aware.embed_examples(batch)[permutation]):
                model(**batch).loss.backward()
        optimiser.step()
    model.eval()
    for task in TASKS:
        aware.remember(task, aware.embed_examples({**source, "labels": WANTED[task]}))
    for task in TASKS:
        with aware.task(task):
            assert said(model, source) == WANTED[task].tolist()


@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing_enable:FutureWarning")
@KINDS
def test_gradient_checkpointing_inside_the_with_gives_the_same_gradient(kind: str):
    gradients = []
    source, labels = source_of(kind), labels_of()
    for checkpointing in (False, True):
        torch.manual_seed(1)
        model = foreign(kind).train()
        aware = modulated(kind, model)
        drawn(aware)
        if checkpointing:
            model.gradient_checkpointing_enable(
                gradient_checkpointing_kwargs={"use_reentrant": False}
            )
        with aware.task("second"):
            model(**source, labels=labels, use_cache=False).loss.backward()
        gradients.append(aware.network.rows.grad)
    assert gradients[0][1].abs().sum() > 0
    torch.testing.assert_close(*gradients)


def test_the_code_on_the_page_of_the_documentation_runs():
    page = (ROOT / "docs" / "modulate.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    assert len(blocks) >= 4
    exec("\n".join(blocks), {})


def digits() -> Any:
    pytest.importorskip("sklearn", reason="the digits are scikit-learn's")
    path = ROOT / "experiments" / "digits.py"
    spec = importlib.util.spec_from_file_location("digits", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["digits"] = module  # its dataclass looks itself up
    spec.loader.exec_module(module)
    return module


def test_one_model_names_handwritten_digits_in_the_language_that_is_asked_for():
    experiment = digits()
    accuracy = experiment.train(with_tasks=True, num_updates=200, seed=0)
    assert min(accuracy.values()) > 0.9
    accuracy = experiment.train(with_tasks=False, num_updates=200, seed=0)
    assert sum(accuracy.values()) / 2 < 0.6
