"""A byte-level BPE cut to the pieces that some texts need.

A text whose pieces are all kept is cut as before, and any other by smaller pieces, down to bytes.
Why as before: byte-pair encoding (Sennrich et al. 2016, https://arxiv.org/abs/1508.07909) always
merges the pair that was learnt first. All that it makes on the way to a piece that stays is kept,
with the order of the merges; so the pair that it merges next is there, and none is new.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence, Set

    Merge = tuple[str, str]


def kept_names(tokenizer: Mapping[str, Any], used: Iterable[str], single: Set[str]) -> set[str]:
    """Return the pieces that stay: those used, what merges make on the way to them, all bytes.

    Args:
        tokenizer: The content of ``tokenizer.json``.
        used: The pieces of the texts.
        single: The 256 pieces of one byte.
    """
    ranks = {merge: rank for rank, merge in enumerate(_merges(tokenizer))}
    kept = set(single)
    for name in used:
        kept.add(name)
        kept.update(_made_on_the_way(name, ranks))
    return kept & set(tokenizer["model"]["vocab"])


def cut_tokenizer(
    tokenizer: Mapping[str, Any], kept: Set[str], controls: Sequence[str]
) -> tuple[dict[str, Any], list[str]]:
    """Return a smaller ``tokenizer.json``, and its pieces in the order of their new ids.

    Args:
        tokenizer: The content of ``tokenizer.json``.
        kept: The pieces of texts that stay, from ``kept_names``.
        controls: The added pieces that stay, in the order of their ids.
    """
    model = tokenizer["model"]
    ordered = sorted(model["vocab"], key=model["vocab"].__getitem__)
    inside = [name for name in ordered if name in kept or name in set(controls)]
    # The library numbers added pieces that its model does not have behind those of the model.
    names = inside + [name for name in controls if name not in model["vocab"]]
    ids = {name: i for i, name in enumerate(names)}
    merges = [
        written
        for written, (left, right) in zip(model["merges"], _merges(tokenizer), strict=True)
        if left in kept and right in kept and left + right in kept
    ]
    added = [
        token | {"id": ids[token["content"]]}
        for token in tokenizer["added_tokens"]
        if token["content"] in controls
    ]
    smaller = model | {"vocab": {name: ids[name] for name in inside}, "merges": merges}
    changed = {
        "model": smaller,
        "added_tokens": sorted(added, key=lambda token: token["id"]),
        "post_processor": None,  # names pieces by their old ids; prompts are made elsewhere
    }
    return dict(tokenizer) | changed, names


def _merges(tokenizer: Mapping[str, Any]) -> list[Merge]:
    """Return the pairs in the order in which they were learnt; older files write them with a space.

    No piece of bytes holds a space, so that there is one way to read it.
    """
    pairs = [
        one.split(" ") if isinstance(one, str) else one for one in tokenizer["model"]["merges"]
    ]
    return [(left, right) for left, right in pairs]


def _made_on_the_way(name: str, ranks: Mapping[Merge, int]) -> set[str]:
    """Return the pieces that byte-pair encoding makes until it has made ``name``."""
    parts, made = list(name), set[str]()
    while len(parts) > 1:
        pairs = list(itertools.pairwise(parts))
        at = min(range(len(pairs)), key=lambda i: ranks.get(pairs[i], len(ranks)))
        if pairs[at] not in ranks:
            break
        parts[at : at + 2] = ["".join(pairs[at])]
        made.add(parts[at])
    return made
