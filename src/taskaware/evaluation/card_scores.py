"""Scores into the card of a model, once they are known."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from taskaware.evaluation.results_folder import RESULTS_NAME
from taskaware.files import read_json_object
from taskaware.inference.model_card import CARD_NAME, CardScore, last_part, write_card

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from taskaware.inference.parts import ModelParts


def add_scores(parts: ModelParts, folder: Path, evaluations: Path) -> None:
    """Write the scores of a model's evaluations into its card, unless somebody changed the card.

    Those of whole splits, with the model's own beam; a folder without a card gets none.

    Args:
        parts: The model.
        folder: Its folder.
        evaluations: The folder with the evaluations of these weights, each a folder.

    Raises:
        WriteError: The card cannot be written.
    """
    card = folder / CARD_NAME
    if not card.is_file() or card.is_symlink():  # a link: into the cache of a hub
        return
    found: list[CardScore] = []
    for path in sorted(evaluations.glob(f"*/{RESULTS_NAME}")):
        try:
            found += _scores(read_json_object(path), parts)
        except (OSError, ValueError, KeyError, TypeError):
            continue  # of an older version, or somebody's
    write_card(parts, folder, found)


def _scores(results: Mapping[str, Any], parts: ModelParts) -> list[CardScore]:
    is_whole = results["limit"] is None and results["beam"] == parts.decoding.beam
    # Of other weights under the same name: a run that was trained further.
    is_of_it = results["provenance"] == json.loads(json.dumps(dict(parts.provenance)))
    if not is_whole or not is_of_it:
        return []
    return [
        CardScore(
            task=str(result["task"]),
            metric=str(score["metric"]),
            value=float(score["value"]),
            num_examples=int(score["num_examples"]),
            data=last_part(results["data"]),
            split=str(results["split"]),
            signature=str(score["signature"]),
            warning=str(score.get("warning", "")),
        )
        for result in results["results"]
        for score in result["scores"]
    ]
