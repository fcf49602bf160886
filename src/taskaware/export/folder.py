"""The folder of an export: new, empty, or an earlier export, which is replaced when all is made."""

from __future__ import annotations

import tempfile
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from taskaware.errors import OutputError
from taskaware.files import reporting
from taskaware.inference.model_card import CARD_NAME, is_somebodys
from taskaware.inference.model_folder import MODEL_FILES
from taskaware.output_folder import claimed, listed

if TYPE_CHECKING:
    from collections.abc import Callable

    from taskaware.output_folder import OutputFolder

Result = TypeVar("Result")
# What exports of any form consist of: in a folder with other files of ours nothing is replaced.
_NAMES = (
    *MODEL_FILES,
    *("*.onnx", "*.onnx.data", "features.npz", "decode.py", "export.json"),
    *("model.bin", "config.json", "*vocabulary.json"),
    *("*_config.json", "tokenizer.json", "vocab.json", "*.spm"),
)


def write_into(folder: Path, last: str, make: Callable[[Path], Result]) -> Result:
    """Have files made in a place of their own, then move them to a folder.

    Args:
        folder: New, empty, or an earlier export, which is replaced once all is made.
        last: The file without which the others are of no use: it comes last.
        make: Writes the files into an empty folder; what it returns is returned.

    Raises:
        OutputError: The folder holds anything but an export.
        WriteError: The disk is full, for example.
    """
    with claimed(folder) as claim:
        _require_export(claim)
        place = folder.resolve().parent
        with (
            reporting(place),
            tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=place) as name,
        ):
            made = Path(name)
            result = make(made)
            if claim.written:
                claim.remove(claim.written)
            names = sorted(path.name for path in made.iterdir())
            for each in (*(name for name in names if name != last), last):
                with claim.writing(each) as partial:
                    (made / each).replace(partial)
            claim.forget()
        return result


def _require_export(claim: OutputFolder) -> None:
    changed = is_somebodys(claim.path / CARD_NAME)
    known = _NAMES if changed else (*_NAMES, CARD_NAME)
    others = [
        name
        for name in claim.written
        if (claim.path / name).exists() and not any(fnmatchcase(name, one) for one in known)
    ]
    if others:
        raise OutputError(
            f"{claim.path} must be a new or an empty folder, or an earlier export, but holds "
            f"{listed(claim.path, others)} of another command or of your own: give another folder; "
            "nothing was changed"
        )
