"""``taskaware export``: a model in the form in which it is deployed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from taskaware.errors import UserError
from taskaware.export.ctranslate2_files import DESCRIPTION as CTRANSLATE2_DESCRIPTION
from taskaware.export.ctranslate2_files import write_ctranslate2
from taskaware.export.fold import fold
from taskaware.export.folder import write_into
from taskaware.export.huggingface import DESCRIPTION as HUGGINGFACE_DESCRIPTION
from taskaware.export.huggingface import write_huggingface
from taskaware.export.merge import (
    adapter_remarks,
    has_unmergeable_adapters,
    merge_adapters,
    of_one_task,
)
from taskaware.export.onnx_files import DESCRIPTION as ONNX_DESCRIPTION
from taskaware.export.onnx_files import write_onnx
from taskaware.files import num_bytes_in
from taskaware.inference.model_folder import DESCRIPTION
from taskaware.model.reduced import is_reduced

if TYPE_CHECKING:
    from pathlib import Path

    from taskaware.export.fold import Folded
    from taskaware.inference.model import TaskAwareModel
    from taskaware.types import StageProgress

Form = Literal["plain", "onnx", "ctranslate2", "huggingface"]


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What was written.

    Attributes:
        num_bytes: Of all files.
        remarks: What became of the model, in words.
    """

    num_bytes: int
    remarks: tuple[str, ...]


def export(
    model: TaskAwareModel,
    form: Form,
    folder: Path,
    *,
    task: str | None = None,
    int8: bool = False,
    progress: StageProgress = lambda *_: None,
) -> Exported:
    """Write a model in another form.

    Args:
        model: The model, on the CPU.
        form: ``"plain"``: a model folder of one task without a task network; ``"onnx"``;
            ``"ctranslate2"``; ``"huggingface"``: as ``taskaware import`` reads.
        folder: New, empty, or an earlier export.
        task: The task, for all forms but ``"onnx"``, which has all where they have the same
            weights, and one of a model with adapters; ``None``: the only one.
        int8: Whether weights become whole numbers of 8 bits (ONNX and CTranslate2).
        progress: Called as the work advances.

    Raises:
        UserError: The form cannot represent the model, and why; an option does not go with it; its
            weights are reduced.
        UnknownTaskError: There is no such task.
        OutputError, WriteError: See ``folder.write_into``.
        MissingDependencyError: A library is not installed.
    """
    if int8 and form not in ("onnx", "ctranslate2"):
        raise UserError(f"--int8 must go with onnx or ctranslate2, but goes with {form}")
    if is_reduced(model.transformer):
        raise UserError(
            "a model that is exported must have its own weights, but has reduced ones: load it "
            "with `weights='float32'`"
        )
    if form == "onnx":
        chosen, remarks = _for_onnx(model, task)
        graphs = write_into(
            folder,
            ONNX_DESCRIPTION,
            lambda place: write_onnx(chosen, place, int8=int8, progress=progress),
        )
        remarks += _search_remarks(model)
        remarks += [f"{graph.name}: within {graph.difference:.1e} of PyTorch" for graph in graphs]
        return Exported(num_bytes=num_bytes_in(folder), remarks=tuple(remarks))
    name = task or _only_task(model)
    folded = fold(model, name)
    match form:
        case "plain":
            write_into(folder, DESCRIPTION, lambda place: folded.model.save(place))
        case "ctranslate2":
            write_into(
                folder,
                CTRANSLATE2_DESCRIPTION,
                lambda place: write_ctranslate2(folded.model, place, int8=int8),
            )
        case "huggingface":
            write_into(
                folder,
                HUGGINGFACE_DESCRIPTION,
                lambda place: write_huggingface(folded.model, place),
            )
    remarks = (*adapter_remarks(model, name), *_remarks(folded))
    if form != "plain":
        remarks = (*remarks, *_search_remarks(model))
    return Exported(num_bytes=num_bytes_in(folder), remarks=remarks)


def _for_onnx(model: TaskAwareModel, task_name: str | None) -> tuple[TaskAwareModel, list[str]]:
    """Return what becomes an ONNX file, and remarks: all tasks, or one of a model with adapters."""
    if not model.transformer.adapters.tasks:
        if task_name is not None:
            raise UserError(
                "--task must be left out with onnx, which has all tasks in one file, but is "
                f"'{task_name}': to have one alone, export it as plain first, and that as onnx"
            )
        return model, []
    name = task_name or _only_task(model)
    remarks = [*adapter_remarks(model, name)]
    if has_unmergeable_adapters(model, name):
        return of_one_task(model, model.task(name)), remarks
    return merge_adapters(model, name), remarks


def _search_remarks(model: TaskAwareModel) -> list[str]:
    if not model.decoding.ctc_weight:
        return []
    return ["left out: CTC in the search (`ctc_weight`): there, the decoder alone counts"]


def _only_task(model: TaskAwareModel) -> str:
    first, *others = model.tasks
    if others:
        names = ", ".join(task.name for task in model.tasks)
        adapted = model.transformer.adapters.tasks
        why = f", as {', '.join(adapted)} have weights of their own (adapters)" if adapted else ""
        raise UserError(
            f"--task must say which of the model's tasks is exported ({names}){why}, but is missing"
        )
    return first.name


def _remarks(folded: Folded) -> tuple[str, ...]:
    return (
        *(f"folded: {what}" for what in folded.exactly),
        *(f"kept as a constant: {what}" for what in folded.constants),
    )
