"""Our beam search gives the sequences of Hugging Face's ``generate``, its options among them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from their_models import BEGIN, END, FAMILIES, PAD, Pair, pair, sources, their_inputs, transformers

from taskaware.decoding.beam_search import beam_search
from taskaware.decoding.settings import DecodingSettings

LIMIT = 12


class Letters:
    """A vocabulary whose pieces are numbers."""

    PAD, BOS, EOS, UNK = PAD, 0, END, 0
    NEVER = ()

    def decode(self, ids: list[int]) -> str:
        return " ".join(map(str, ids))


def doubles(family: str) -> Pair:
    """Models in float64, so that no tie is broken by rounding, sure enough of themselves to end."""
    models = pair(family, sharpness=2.0, lively=True)
    models.theirs.double()
    models.ours.double()
    return models


def both(
    family: str, prompt: list[int], ours: dict[str, Any], theirs: dict[str, Any]
) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    """Return the best sequence of each of several sources, without prompt and end."""
    models = doubles(family)
    source, lengths = sources(family, num_examples=24)
    source = source.double() if source.is_floating_point() else source
    found = beam_search(
        models.ours,
        source,
        lengths,
        modality=models.task.source_modality,
        task_embedding=None,
        begin=prompt,
        vocabulary=Letters(),  # type: ignore[arg-type]
        settings=DecodingSettings(
            extra_pieces=1000, max_pieces=LIMIT, **({"suppressed": (PAD,)} | ours)
        ),
    )
    # Whisper's own method does more than generate; what it calls in the end is this.
    out = transformers.GenerationMixin.generate(
        models.theirs,
        **their_inputs(family, source, lengths),
        decoder_input_ids=torch.tensor([prompt]).expand(len(source), -1),
        do_sample=False,
        max_new_tokens=LIMIT,
        # Theirs takes a padding piece in its own output for padding.
        **({"suppress_tokens": [PAD]} | theirs),
    )
    sequences = []
    for row in out[:, len(prompt) :].tolist():
        sequences.append(tuple(row[: row.index(END)] if END in row else row))
    return [hypotheses[0].token_ids for hypotheses in found], sequences


@pytest.mark.parametrize("family", FAMILIES)
def test_a_beam_of_one_is_their_greedy_search(family: str):
    ours, theirs = both(family, [BEGIN], {"beam": 1}, {"num_beams": 1})
    assert ours == theirs
    assert len(set(ours)) >= 3


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("beam", [2, 5])
@pytest.mark.parametrize(
    ("stopping", "early_stopping"), [("full", True), ("heuristic", False)], ids=str
)
@pytest.mark.parametrize("length_penalty", [1.0, 0.0])
def test_beams_are_theirs(
    family: str, beam: int, stopping: str, early_stopping: bool, length_penalty: float
):
    ours, theirs = both(
        family,
        [BEGIN],
        {"beam": beam, "stopping": stopping, "length_penalty": length_penalty},
        {"num_beams": beam, "early_stopping": early_stopping, "length_penalty": length_penalty},
    )
    assert ours == theirs


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("beam", [1, 4])
def test_a_prompt_of_several_pieces_and_suppressed_pieces_are_theirs(family: str, beam: int):
    suppressed, first = (PAD, *range(4, 12)), (END, 20, 21)
    ours, theirs = both(
        family,
        [BEGIN, 7, 31, 5],
        {
            "beam": beam,
            "stopping": "heuristic",
            "length_penalty": 1.0,
            "suppressed": suppressed,
            "suppressed_first": first,
        },
        {
            "num_beams": beam,
            "suppress_tokens": list(suppressed),
            "begin_suppress_tokens": list(first),
        },
    )
    assert ours == theirs
    assert not set(suppressed) & {piece for pieces in ours for piece in pieces}
    assert all(pieces and pieces[0] not in first for pieces in ours)


@pytest.mark.parametrize("beam", [1, 5])
def test_a_forced_language_is_a_prompt_that_counts(beam: int):
    prompt = {"beam": beam, "stopping": "full", "length_penalty": 1.0, "counted_prompt": 1}
    models_say = both(
        "m2m_100",
        [BEGIN],
        {"beam": beam},
        {
            "num_beams": beam,
            "early_stopping": beam > 1,
            "forced_bos_token_id": 9,
        },
    )[1]
    torch.manual_seed(0)
    settings = DecodingSettings(extra_pieces=1000, max_pieces=LIMIT - 1, **prompt)
    models = doubles("m2m_100")
    source, lengths = sources("m2m_100", num_examples=24)
    found = beam_search(
        models.ours,
        source,
        lengths,
        modality="text",
        task_embedding=None,
        begin=[BEGIN, 9],
        vocabulary=Letters(),  # type: ignore[arg-type]
        settings=settings,
    )
    assert [(9, *hypotheses[0].token_ids) for hypotheses in found] == models_say


@pytest.mark.parametrize("beam", [1, 4])
def test_an_end_that_is_forced_at_the_limit_is_theirs(beam: int):
    ours, theirs = both(
        "marian",
        [BEGIN],
        {"beam": beam, "stopping": "heuristic", "length_penalty": 1.0, "end_at_limit": True},
        {"num_beams": beam, "forced_eos_token_id": END},
    )
    assert ours == theirs
    assert max(map(len, ours)) == LIMIT - 1


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("beam", "size"), [(1, 2), (4, 2), (4, 3)])
def test_no_pieces_in_a_row_come_twice_as_with_theirs(family: str, beam: int, size: int):
    settings = {"beam": beam, "stopping": "heuristic", "length_penalty": 1.0}
    ours, theirs = both(
        family,
        [BEGIN, 7],
        settings | {"no_repeat": size},
        {"num_beams": beam, "no_repeat_ngram_size": size},
    )
    assert ours == theirs


def test_a_hypothesis_ends_where_the_learnt_positions_end():
    models = doubles("whisper")
    with torch.no_grad():
        models.ours.token_embedding.weight[END] = 0.0
        models.ours.token_embedding.weight[7] *= 10.0
    source, lengths = sources("whisper", num_examples=2)
    found = beam_search(
        models.ours,
        source.double(),
        lengths,
        modality="speech",
        task_embedding=None,
        begin=[BEGIN, 5],
        vocabulary=Letters(),  # type: ignore[arg-type]
        settings=DecodingSettings(extra_pieces=1000),
    )
    assert [len(hypotheses[0].token_ids) for hypotheses in found] == [58, 58]  # 60 positions
