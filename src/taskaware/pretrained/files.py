"""The JSON files beside a pretrained model's weights."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from taskaware.errors import CheckpointError

if TYPE_CHECKING:
    from pathlib import Path


def read_json(path: Path) -> dict[str, Any] | None:
    """Return the JSON object of a file; ``None`` where there is no such file.

    Raises:
        CheckpointError: It is no JSON object.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} must be readable JSON, but: {error}") from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{path} must hold a JSON object, but holds {type(values).__name__}")
    return values


def need_json(path: Path) -> dict[str, Any]:
    """Return the JSON object of a file.

    Raises:
        CheckpointError: There is none, or it is no JSON object.
    """
    values = read_json(path)
    if values is None:
        raise CheckpointError(
            f"{path.parent} must hold {path.name}, but does not: save the tokenizer there with the "
            "transformers library (`AutoTokenizer.from_pretrained(...).save_pretrained(FOLDER)`)"
        )
    return values
