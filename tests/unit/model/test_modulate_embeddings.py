"""Task embeddings from the preprocessing layers of a modulated module."""

from __future__ import annotations

import pytest
import torch
from foreign_modules import LAYOUTS, SMALL, D, drawn, lengths, padded_examples, translator_of
from torch import Tensor, nn

from taskaware.errors import UnknownTaskError
from taskaware.model.modulate import modulate

# nn.Transformer says so of every layout that it has no fused path for.
pytestmark = pytest.mark.filterwarnings("ignore:enable_nested_tensor is True:UserWarning")


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


def test_how_large_what_enters_the_blocks_is_does_not_matter():
    translator, aware = translator_of(network="implicit")
    drawn(aware)
    examples = padded_examples()
    embedding = aware.embed_examples(examples, **lengths(examples))
    with torch.no_grad():
        translator.embedding.weight.mul_(0.03)
    small = aware.embed_examples(examples, **lengths(examples))
    torch.testing.assert_close(small, embedding, atol=0.02, rtol=0.02)
