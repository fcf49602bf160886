"""``taskaware import``: a pretrained model of another library as one of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from taskaware.cli.display import out
from taskaware.errors import UserError


def import_model(
    folder: Path,
    /,
    *,
    to: Path,
    tasks: Annotated[tuple[str, ...], Parameter(negative=(), show_default=False)] = (),
    hears_seconds: float | None = None,
    pieces_of: Annotated[tuple[str, ...], Parameter(negative=(), show_default=False)] = (),
) -> int:
    """Make a model folder of ours from a pretrained Whisper, Speech2Text, Marian or M2M100/NLLB.

    The folder has Hugging Face's layout: config.json, model.safetensors (or its parts), the files
    of its tokenizer and perhaps generation_config.json. Nothing in it is executed, and the
    transformers library is not needed.

    Parameters
    ----------
    folder
        The pretrained model.
    to
        The model folder to make; it must not be there.
    tasks
        What the model can do: `asr_en` (recognition), `st_de_en` (translation of speech),
        `mt_en_de` (of text; NLLB: `mt_eng_Latn_deu_Latn`); several are separated by commas, or the
        option is repeated. Default: asr_en for Whisper, the direction that an OPUS-MT model names.
    hears_seconds
        Of Whisper: every recording is filled up to this length with silence. Default: what it was
        trained on, 30 s. 0: not at all, which is many times faster, but an untrained model then
        repeats itself instead of stopping.
    pieces_of
        Manifests as `prepare` reads them, or text files of a text a line: the vocabulary is cut to
        the pieces of their texts, so that the model is smaller and faster; several are separated by
        commas, or the option is repeated. Default: the vocabulary stays whole.
    """
    from taskaware.pretrained.importing import import_model as read

    if to.exists():
        raise UserError(f"{to} must not be there yet, but is: choose another folder for the model")
    model = read(
        folder, tasks=_listed(tasks), hears_seconds=hears_seconds, pieces_of=_listed(pieces_of)
    )
    to.parent.mkdir(parents=True, exist_ok=True)
    model.save(to)
    whole = model.provenance.get("pieces_before")
    pieces = f"{model.vocabulary.size:,} pieces" + (f" of {whole:,}" if whole else "")
    number = sum(parameter.numel() for parameter in model.transformer.parameters())
    out().print(
        f"{to}: {model.provenance['family']}, {number:,} parameters, {pieces}, "
        f"tasks {', '.join(task.name for task in model.tasks)}",
        highlight=False,
    )
    return 0


def _listed(values: tuple[str, ...]) -> list[str]:
    """Return what options name, by commas or repeated."""
    return [name.strip() for one in values for name in one.split(",") if name.strip()]
