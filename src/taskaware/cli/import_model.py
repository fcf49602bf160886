"""``taskaware import``: a pretrained model of another library as one of ours."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from taskaware.cli.display import out
from taskaware.cli.numbers import Count
from taskaware.errors import UserError


def import_model(
    folder: Path,
    /,
    *,
    to: Path,
    tasks: Annotated[tuple[str, ...], Parameter(negative=(), show_default=False)] = (),
    hears_seconds: float | None = None,
    pieces_of: Annotated[tuple[str, ...], Parameter(negative=(), show_default=False)] = (),
    decoder_of: Path | None = None,
    bridge_layers: Count | None = None,
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
        The model folder to make; it must not be there, unless the same command has made it.
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
    decoder_of
        Another pretrained model, whose decoder is taken in place of the first one's, with a new
        bridge between them: a speech encoder (Whisper, Speech2Text) then writes with a decoder of
        texts (Marian, M2M100/NLLB). It cannot translate before it is trained.
    bridge_layers
        With --decoder-of: convolutions of the bridge, each of which halves the positions that the
        decoder looks at (default 2).
    """
    from taskaware.pretrained.importing import import_joined, is_imported, is_saved_as
    from taskaware.pretrained.importing import import_model as read

    if os.path.lexists(to) and not is_imported(to):  # before a large model is read
        raise _is_there(to)
    names, texts = _listed(tasks), _listed(pieces_of)
    if decoder_of is None:
        if bridge_layers is not None:
            raise UserError("--bridge-layers needs --decoder-of: a whole model has no bridge")
        model = read(folder, tasks=names, hears_seconds=hears_seconds, pieces_of=texts)
    else:
        model = import_joined(
            folder,
            decoder_of,
            tasks=names,
            hears_seconds=hears_seconds,
            pieces_of=texts,
            bridge_layers=bridge_layers or 2,
        )
    was_there = os.path.lexists(to)
    if was_there and not is_saved_as(model, to):
        raise _is_there(to)
    if not was_there:
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
    if was_there:
        out().print("it is there already and complete: nothing was written", highlight=False)
    if decoder_of is not None:
        out().print(
            'its bridge is new: train it before use, for example with start.trains="bridge"',
            highlight=False,
        )
    return 0


def _is_there(folder: Path) -> UserError:
    return UserError(
        f"{folder} must not be there yet, unless the same command has made it, but is: choose "
        "another folder for the model"
    )


def _listed(values: tuple[str, ...]) -> list[str]:
    """Return what options name, by commas or repeated."""
    return [name.strip() for one in values for name in one.split(",") if name.strip()]
