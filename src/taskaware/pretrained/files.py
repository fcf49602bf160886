"""The JSON files beside a pretrained model's weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from taskaware.errors import CheckpointError
from taskaware.files import read_json_object

if TYPE_CHECKING:
    from pathlib import Path


def read_json(path: Path) -> dict[str, Any] | None:
    """Return the JSON object of a file; ``None`` where there is no such file.

    Raises:
        CheckpointError: It is no JSON object.
    """
    try:
        return read_json_object(path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} must be readable JSON, but: {error}") from error


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
