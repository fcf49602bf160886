"""The parts that make the search fast give what the plain ways give."""

from __future__ import annotations

import pytest
import torch

from conftest import MT, NUM_PIECES, TASKS, random_batch, tiny_settings
from taskaware.decoding.pieces import best_pieces, repeating
from taskaware.model.attention import keep_rows
from taskaware.model.create_model import create_model


@pytest.mark.parametrize("num_pieces", [3, 40, 1000, 1025, 2079])
@pytest.mark.parametrize("number", [1, 8])
def test_the_best_pieces_are_those_of_topk(num_pieces: int, number: int):
    generator = torch.Generator().manual_seed(num_pieces)
    x = torch.randperm(6 * num_pieces, generator=generator).view(2, 3, num_pieces).float()
    x[..., -1] += 6 * num_pieces  # one in what is left behind the last whole group
    values, places = best_pieces(x, number)
    wanted = x.topk(min(number, num_pieces), dim=2)
    assert torch.equal(values, wanted.values)
    assert torch.equal(places, wanted.indices)


@pytest.mark.parametrize("size", [1, 2, 3, 6])
def test_what_repeats_is_found_as_by_looking_at_every_window(size: int):
    generator = torch.Generator().manual_seed(0)
    pieces = torch.randint(0, 2, (4, 3, 20), generator=generator)
    wanted = []
    for row in range(4):
        for column in range(3):
            said = pieces[row, column].tolist()
            last = said[len(said) - size + 1 :] if size > 1 else []
            for end in range(size - 1, len(said)):
                if said[end - size + 1 : end] == last:
                    wanted.append((row, column, said[end]))
    assert wanted
    assert sorted(repeating(pieces, size)) == sorted(wanted)
    assert repeating(pieces[..., :1], 3) == []


@pytest.mark.parametrize("rows", [[0, 1, 2], [0, 3, 2], [4], [3, 1, 4, 0, 2], []])
def test_rows_that_are_kept_in_place_are_those_of_an_index(rows: list[int]):
    x = torch.arange(10).view(5, 2)
    wanted = x[rows].clone()
    kept = keep_rows(x, torch.tensor(rows, dtype=torch.int64))
    assert torch.equal(kept, wanted)
    assert kept.untyped_storage().data_ptr() == x.untyped_storage().data_ptr()


@torch.inference_mode()
def test_hypotheses_that_change_places_and_examples_that_go_have_the_logits_of_the_full_forward():
    generator = torch.Generator().manual_seed(0)
    model = create_model(tiny_settings(), vocabulary_size=NUM_PIECES, tasks=TASKS).eval()
    batch = random_batch(MT, num_examples=4)
    width, examples = 3, [0, 1, 2, 3]
    state = model.start_decoding(batch.source, batch.source_lengths, "text", None, width=width)
    said = [[[1]] for _ in examples]
    newest = torch.ones(4, 1, dtype=torch.int64)
    for position in range(40):  # more than a cache has room for at first
        logits = model.step(newest, state)
        for row, example in enumerate(examples):
            length = int(batch.source_lengths[example])
            source, lengths = model.preprocess_source(
                batch.source[example : example + 1, :length], torch.tensor([length]), "text"
            )
            encoded = model.encode(source, lengths, None)
            target = torch.tensor(said[row])
            of_all = [
                model.decode(
                    model.token_embedding.embed(one[None]), torch.tensor([len(one)]), encoded
                )
                for one in target
            ]
            wanted = model.token_embedding.logits(torch.cat(of_all)[:, -1])
            torch.testing.assert_close(logits[row], wanted, atol=1e-5, rtol=1e-4)
        origin = torch.randint(0, newest.shape[1], (len(examples), width), generator=generator)
        newest = torch.randint(3, NUM_PIECES, (len(examples), width), generator=generator)
        said = [
            [[*said[row][int(origin[row, w])], int(newest[row, w])] for w in range(width)]
            for row in range(len(examples))
        ]
        state.reorder(origin)
        if position in (2, 20):
            kept = [0, len(examples) - 1, 1][: len(examples) - 1]
            state.keep_examples(torch.tensor(kept))
            examples, said = [examples[row] for row in kept], [said[row] for row in kept]
            newest = newest[kept]
