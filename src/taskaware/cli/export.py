"""``taskaware export``: a model in the form in which it is deployed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from taskaware.cli.display import say, stage_display


def export(
    model: Path,
    /,
    *,
    form: Annotated[Literal["plain", "onnx", "ctranslate2", "huggingface"], Parameter(name="--as")],
    to: Path,
    task: str | None = None,
    int8: Annotated[bool, Parameter(negative=())] = False,
    which: str = "model",
) -> int:
    """Write a model in another form, for where it is used.

    What was merged or folded into weights, what stays as a constant, and how far ONNX Runtime's
    outputs are from PyTorch's is printed. `docs/export.md` shows how each form is used.

    Parameters
    ----------
    model
        A model's folder, or a run's.
    form
        `plain`: a model folder of ours for one task, its task embedding folded into the weights;
        `onnx`: an encoder for each kind of source and a decoder step for ONNX Runtime, all tasks in
        them, and a program that decodes with onnxruntime and numpy alone;
        `ctranslate2`: one task, of a text Transformer or a Whisper;
        `huggingface`: one task, of a Whisper or a Marian, as `taskaware import` reads them.
    to
        The folder to write: a new or an empty one, or an earlier export, which is replaced.
    task
        The task, where the model has several (all forms but onnx, and onnx of a model with
        adapters, which are merged into the weights).
    int8
        Weights as whole numbers of 8 bits (onnx, ctranslate2): smaller and on most processors
        faster, with outputs that differ a little.
    which
        Which of a run's models: model, best, average, taskwise/TASK.
    """
    from taskaware.errors import UserError
    from taskaware.export.exporting import export as write
    from taskaware.inference.model import load
    from taskaware.inference.model_folder import find_model
    from taskaware.output_folder import require_usable

    require_usable(to)
    if to.resolve() == find_model(model, which).resolve():
        raise UserError(
            f"--to must be another folder than the model's, which it would replace, but is {to}: "
            "give a new one"
        )
    loaded = load(model, which=which, device="cpu")
    with stage_display() as progress:
        exported = write(loaded, form, to, task=task, int8=int8, progress=progress)
    for remark in exported.remarks:
        say(remark)
    say(f"{to}: {form}, {exported.num_bytes / 1e6:.1f} MB")
    return 0
