"""Where results are written, so that those of another evaluation are never written over.

::

    MODEL/evaluation/WHICH/SPLIT/                         all of the split that the model's data has
    MODEL/evaluation/WHICH/SPLIT__DATA__limit-2__beam-1__TASK+TASK/   anything else, by what differs
        results.json     what was evaluated, and its scores
        outputs.jsonl    every output
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taskaware.errors import UserError
from taskaware.evaluation.evaluate import outputs_text
from taskaware.files import atomic_file, read_json_object
from taskaware.output_record import require_inside

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from taskaware.evaluation.evaluate import TaskResult

RESULTS_NAME = "results.json"
OUTPUTS_NAME = "outputs.jsonl"
_MAX_NAME = 120  # characters of a folder's name; longer lists of tasks become a hash


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """What was evaluated: two evaluations of one model are the same if this is.

    Attributes:
        which: Which of a run's models.
        data: The prepared folder, by path or URL.
        data_fingerprint: Its fingerprint.
        split: The split.
        beam: Beam width.
        limit: Examples of each task; ``None``: all.
        tasks: The tasks that were asked for, sorted; ``None``: all that model and data share.
        weights: What the model computed with.
    """

    which: str
    data: str
    data_fingerprint: str
    split: str
    beam: int
    limit: int | None = None
    tasks: tuple[str, ...] | None = None
    weights: str = "float32"

    def to_json(self) -> dict[str, Any]:
        """As fields of ``results.json``."""
        tasks = None if self.tasks is None else list(self.tasks)
        return {**vars(self), "tasks": tasks}


def folder_name(evaluated: Evaluated, *, own_fingerprint: str, own_beam: int) -> str:
    """The name of the folder: the split, and whatever differs from the model's own data and beam.

    Args:
        evaluated: What is evaluated.
        own_fingerprint: Fingerprint of the data that the model was trained on; empty: not known.
        own_beam: The beam width that the model has of its own.
    """
    parts = [evaluated.split]
    if not own_fingerprint or evaluated.data_fingerprint != own_fingerprint:
        where = re.split(r"[/\\]+", evaluated.data.rstrip("/\\"))[-2:]
        name = re.sub(r"[^\w.-]+", "-", "-".join(where)).strip("-.")[-50:]
        parts.append(f"{name}-{evaluated.data_fingerprint[:8]}")
    if evaluated.limit is not None:
        parts.append(f"limit-{evaluated.limit}")
    if evaluated.beam != own_beam:
        parts.append(f"beam-{evaluated.beam}")
    if evaluated.weights != "float32":
        parts.append(evaluated.weights)
    if evaluated.tasks is not None:
        tasks = "+".join(evaluated.tasks)
        if len("__".join([*parts, tasks])) > _MAX_NAME:
            digest = hashlib.sha256(tasks.encode()).hexdigest()[:8]
            tasks = f"{len(evaluated.tasks)}-tasks-{digest}"
        parts.append(tasks)
    return "__".join(parts)


def require_usable(folder: Path, evaluated: Evaluated, *, model: Path, is_named: bool) -> None:
    """Require, before anything is decoded, that results can be written into a folder.

    Args:
        folder: The folder; it need not exist.
        evaluated: What is going to be evaluated.
        model: With which model.
        is_named: Whether the user named the folder: it may then hold what is not ours.

    Raises:
        UserError: It cannot be written, or holds results of another evaluation.
    """
    if not is_named and folder.is_relative_to(model):  # which may be a stranger's
        require_inside(model, [str((folder / RESULTS_NAME).relative_to(model))])
    _require_writable(folder)
    path = folder / RESULTS_NAME
    if not path.exists():
        if is_named and (folder / OUTPUTS_NAME).exists():
            raise UserError(
                f"{folder} must not hold files of these names already, but has an {OUTPUTS_NAME} "
                f"that no evaluation wrote (there is no {RESULTS_NAME}); name another folder "
                "with --to"
            )
        return
    try:
        found = read_json_object(path)
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict) or "results" not in found:
        raise UserError(
            f"{path} must be what an earlier evaluation wrote, but is something else; name another "
            "folder with --to"
        )
    differences = _differences(found, evaluated, str(model) if is_named else None)
    if differences:
        raise UserError(
            f"{folder} must hold no results of another evaluation, but does: "
            f"{'; '.join(differences)}. Name another folder with --to"
        )


def write(
    folder: Path, evaluated: Evaluated, results: Sequence[TaskResult], about: Mapping[str, Any]
) -> None:
    """Write outputs and scores; nobody sees half a file, and the outputs come last.

    Where it is stopped between the two, the scores say whose they are, so that the same evaluation
    may be done again; outputs alone could be anybody's.

    Args:
        folder: Where.
        evaluated: What was evaluated.
        results: What was found.
        about: What else ``results.json`` says, of the model for example.

    Raises:
        WriteError: The disk is full, for example.
    """
    content = {
        **about,
        **evaluated.to_json(),
        "results": [result.summary() for result in results],
    }
    # Either both are exchanged or, as far as a file system can say, none.
    with (
        atomic_file(folder / OUTPUTS_NAME) as outputs,
        atomic_file(folder / RESULTS_NAME) as scores,
    ):
        scores.write_bytes(json.dumps(content, indent=1, ensure_ascii=False).encode())
        outputs.write_bytes(outputs_text(results).encode())


def _require_writable(folder: Path) -> None:
    if folder.is_symlink() and not folder.exists():
        raise UserError(
            f"{folder} must be a folder for the results, but is a link to nothing; name another "
            "with --to"
        )
    nearest = next((p for p in (folder, *folder.parents) if os.path.exists(p)), Path())  # noqa: PTH110 -- Path.exists raises where a folder may not be entered
    if not nearest.is_dir():
        raise UserError(
            f"{folder} must be a folder for the results, but {nearest} is a file; name another "
            "with --to"
        )
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise UserError(
            f"{folder} must be a folder that the results can be written to, but {nearest} is not "
            "writable for you; name another with --to"
        )


def _differences(found: Mapping[str, Any], evaluated: Evaluated, model: str | None) -> list[str]:
    """How an earlier evaluation differs, in words; one of an older version says less of itself."""
    wanted = evaluated.to_json()
    found = {"weights": "float32", **found}  # there was no choice once
    if "data_fingerprint" in found:
        # The same data may be named in several ways.
        del wanted["data"]
    else:
        wanted = {name: wanted[name] for name in ("data", "split", "which", "beam")}
    if model is not None:
        wanted["model"] = model
    names = {"data_fingerprint": "data", "limit": "--limit", "tasks": "--task"}
    names["weights"] = "--weights"
    return [
        f"{names.get(name, name)} {_shown(name, found)} there, {_shown(name, wanted)} here"
        for name, value in wanted.items()
        if found.get(name) != value
    ]


def _shown(name: str, fields: Mapping[str, Any]) -> str:
    value = fields.get(name)
    if name == "data_fingerprint":
        return str(value)[:8]
    if isinstance(value, list):
        return ", ".join(value)
    return "none" if value is None else str(value)
