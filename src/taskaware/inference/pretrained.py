"""Models that others trained, as models of ours: a folder in Hugging Face's layout in, ours out.

``model.pretrained`` has the weights, a file for each family; here are the rest of a model: its
vocabulary, how it hears, how it searches, and what it can do.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taskaware.data.sound.settings import FeatureSettings
from taskaware.data.vocabulary.prompts import is_whisper, whisper_prompt
from taskaware.data.vocabulary.tokenizer_pieces import tokenizer_bytes
from taskaware.data.vocabulary.vocabulary import Vocabulary
from taskaware.decoding.settings import DecodingSettings
from taskaware.errors import CheckpointError, DataError, UserError
from taskaware.inference.model import TaskAwareModel
from taskaware.model.pretrained.read import check_family, convert, create_pretrained
from taskaware.model.pretrained.source import read_config, read_tensors
from taskaware.model.settings import ConditioningSettings
from taskaware.types import Task
from taskaware.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from taskaware.model.pretrained.source import Pretrained

_TASK = re.compile(r"(asr)_([a-z]{2,3})|(st)_([a-z]{2,3})_([a-z]{2,3})")
_NO_REPEAT = (
    10  # pieces: longer than what people say twice in a row, shorter than a looped sentence
)
_SOURCES_TOGETHER = 8  # of 30 s each


def import_model(
    folder: Path | str, *, tasks: Sequence[str] = (), hears_seconds: float | None = None
) -> TaskAwareModel:
    """Return a pretrained model as one of ours, not yet saved. Nothing in the folder is executed.

    Args:
        folder: In Hugging Face's layout: config.json, safetensors, tokenizer.json.
        tasks: What it can do, ``"asr_en"``, ``"st_de_en"``; recognition of English if none.
        hears_seconds: What every recording is filled up to with silence; ``None``: what the model
            was trained on, 30 s. 0: nothing; then it must be trained to stop.

    Raises:
        CheckpointError: The folder is no model of a known family, or its parts do not fit.
        UserError: A task is not one of a form that is known.
        UnknownTaskError: The model cannot do a task.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise CheckpointError(f"{folder} must be a folder in Hugging Face's layout, but is none")
    config = read_config(folder)
    check_family(config)
    if config.values["model_type"] != "whisper":
        raise CheckpointError(
            f"{folder} must hold a Whisper, but holds a {config.values['model_type']} model: the "
            "weights of other families can be read from Python "
            "(`taskaware.model.pretrained.read.read_pretrained`), their tokenizers not yet"
        )
    wanted = tuple(_task(name) for name in dict.fromkeys(tasks or ("asr_en",)))
    pretrained = convert(config, read_tensors(folder))
    vocabulary = _vocabulary(folder, pretrained)
    for task in wanted:
        whisper_prompt(vocabulary, task, names_task=True)
    longest = pretrained.settings.num_source_positions * 2  # frames: one convolution has stride 2
    seconds = longest / 100 if hears_seconds is None else hears_seconds
    if not 0 <= seconds <= longest / 100:
        raise UserError(
            f"the seconds that the model hears must be from 0 to {longest / 100:g}, but are "
            f"{seconds:g}"
        )
    return TaskAwareModel(
        transformer=create_pretrained(pretrained, wanted),
        # Its own prompt is what tells it the task.
        settings=replace(pretrained.settings, conditioning=ConditioningSettings(cue="target_tag")),
        tasks=wanted,
        vocabulary=vocabulary,
        feature_settings=FeatureSettings(
            kind="whisper",
            num_mel_bins=pretrained.settings.num_features,
            padded_seconds=float(seconds),
        ),
        decoding=_decoding(folder, pretrained, vocabulary),
        provenance={
            "imported_from": str(folder),
            "family": pretrained.family,
            "taskaware_version": __version__,
        },
        longest_sources={task.name: longest for task in wanted},
    )


def _task(name: str) -> Task:
    """Return the task that a name such as ``asr_en`` or ``st_de_en`` means.

    Raises:
        UserError: It is not of such a form.
    """
    found = _TASK.fullmatch(name)
    if found is None:
        raise UserError(
            "a task must be named asr_LANGUAGE (recognition) or st_LANGUAGE_en (translation into "
            f"English), for example asr_en or st_de_en, but is '{name}'"
        )
    if found[1]:
        return Task(
            name=name,
            kind="asr",
            source_modality="speech",
            source_language=found[2],
            target_language=found[2],
        )
    return Task(
        name=name,
        kind="st",
        source_modality="speech",
        source_language=found[4],
        target_language=found[5],
    )


def _vocabulary(folder: Path, pretrained: Pretrained) -> Vocabulary:
    path = folder / "tokenizer.json"
    tokenizer = _json(path)
    if tokenizer is None:
        raise CheckpointError(
            f"{folder} must hold tokenizer.json, but does not: save it there with the transformers "
            "library (`AutoTokenizer.from_pretrained(...).save_pretrained(FOLDER)`)"
        )
    try:
        vocabulary = Vocabulary(
            tokenizer_bytes(
                tokenizer,
                pad=pretrained.pad,
                begin=pretrained.begin,
                end=pretrained.end,
                size=pretrained.vocabulary_size,
            )
        )
    except DataError as error:
        raise CheckpointError(f"{path}: {error}") from error
    if not is_whisper(vocabulary):
        raise CheckpointError(
            f"{path} must have Whisper's pieces, such as <|startoftranscript|>, but has not: it is "
            "the tokenizer of another model"
        )
    return vocabulary


def _decoding(folder: Path, pretrained: Pretrained, vocabulary: Vocabulary) -> DecodingSettings:
    """Return how it searches: as its generation_config.json says, where there is one."""
    path = folder / "generation_config.json"
    said = _json(path) or {}
    suppressed = _ids(path, said, "suppress_tokens", vocabulary)
    first = _ids(path, said, "begin_suppress_tokens", vocabulary)
    if suppressed is None:  # no prompt, language or time within a text
        suppressed = sorted({*vocabulary.control_ids} - {pretrained.end})
    if first is None:  # not nothing, and not two spaces
        first = [pretrained.end, *vocabulary.encode(" ")[:1]]
    return DecodingSettings(
        beam=4,
        length_penalty=1.0,
        extra_pieces=pretrained.settings.num_target_positions,
        examples_per_batch=_SOURCES_TOGETHER,
        stopping="heuristic",
        suppressed=tuple(suppressed),
        suppressed_first=tuple(first),
        no_repeat=_NO_REPEAT,
    )


def _ids(
    path: Path, said: Mapping[str, Any], name: str, vocabulary: Vocabulary
) -> list[int] | None:
    ids = said.get(name)
    if ids is None:
        return None
    if not isinstance(ids, list) or not all(
        type(i) is int and 0 <= i < vocabulary.size for i in ids
    ):
        raise CheckpointError(
            f"{path}: {name} must be ids of pieces from 0 to {vocabulary.size - 1}, but is {ids!r}"
        )
    return ids


def _json(path: Path) -> dict[str, Any] | None:
    """Return the JSON object of a file; ``None`` where there is no such file."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} must be readable JSON, but: {error}") from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{path} must hold a JSON object, but holds {type(values).__name__}")
    return values
