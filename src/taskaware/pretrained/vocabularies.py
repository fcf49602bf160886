"""The vocabulary of a pretrained model, from the files of its tokenizer."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import sentencepiece

from taskaware.data.vocabulary.mapped_pieces import Case, mapped_bytes
from taskaware.data.vocabulary.prompts import is_whisper
from taskaware.data.vocabulary.tokenizer_pieces import tokenizer_bytes
from taskaware.data.vocabulary.vocabulary import Vocabulary
from taskaware.errors import CheckpointError, DataError
from taskaware.files import read_regular
from taskaware.pretrained.files import need_json, read_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from taskaware.model.pretrained.source import Pretrained

_FAIRSEQ_SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")
_UNKNOWN = "<unk>"
_ID = re.compile("[0-9]{1,18}")


def read_vocabulary(folder: Path, pretrained: Pretrained) -> Vocabulary:
    """Return a model's vocabulary.

    Raises:
        CheckpointError: Its files are missing, damaged, or those of another model.
    """
    try:
        match pretrained.family:
            case "whisper":
                return _whisper(folder, pretrained)
            case "marian":
                ids = _ids(folder)
                controls = {name: i for name, i in ids.items() if name.startswith(">>")}
                models = folder / "source.spm", folder / "target.spm"
            case "m2m_100" if not (folder / "vocab.json").is_file():
                ids, controls = _fairseq_ids(folder)
                models = (folder / "sentencepiece.bpe.model",) * 2
            case "m2m_100":
                ids = _ids(folder)
                controls = _added(folder, first=len(ids))
                models = (folder / "sentencepiece.bpe.model",) * 2
            case _:
                ids = _ids(folder)
                controls = {name: i for name, i in ids.items() if name.startswith("<lang:")}
                models = (folder / "sentencepiece.bpe.model",) * 2
        source, target = (_sentencepiece(path) for path in models)
        content = mapped_bytes(
            family=pretrained.family,
            ids=ids,
            controls=controls,
            source_model=source,
            target_model=target,
            pad=pretrained.pad,
            begin=pretrained.begin,
            end=pretrained.end,
            unknown=ids.get(_UNKNOWN, pretrained.pad),
            size=pretrained.vocabulary_size,
            case=_case(folder),
        )
        return Vocabulary(content)
    except DataError as error:
        raise CheckpointError(f"the tokenizer in {folder} does not fit: {error}") from error


def _whisper(folder: Path, pretrained: Pretrained) -> Vocabulary:
    path = folder / "tokenizer.json"
    content = tokenizer_bytes(
        need_json(path),
        family=pretrained.family,
        pad=pretrained.pad,
        begin=pretrained.begin,
        end=pretrained.end,
        size=pretrained.vocabulary_size,
    )
    vocabulary = Vocabulary(content)
    if not is_whisper(vocabulary):
        raise CheckpointError(
            f"{path} must have Whisper's pieces, such as <|startoftranscript|>, but has not: it is "
            "the tokenizer of another model"
        )
    return vocabulary


def _ids(folder: Path) -> dict[str, int]:
    path = folder / "vocab.json"
    ids = need_json(path)
    if not all(type(i) is int for i in ids.values()):
        raise CheckpointError(f"{path} must give every piece a whole number, but does not")
    return ids


def _sentencepiece(path: Path) -> bytes:
    try:
        return read_regular(path)
    except OSError as error:
        raise CheckpointError(
            f"{path.parent} must hold {path.name}, a sentencepiece model, but: {error}"
        ) from error


def _added(folder: Path, *, first: int) -> dict[str, int]:
    """Return the ids of the languages: as the files say, or from ``first`` on in their order."""
    path = folder / "tokenizer_config.json"
    config = read_json(path) or {}
    added = config.get("added_tokens_decoder") or {}
    if not isinstance(added, dict):
        raise CheckpointError(
            f"{path}: added_tokens_decoder must be a JSON object of ids, but is of type "
            f"{type(added).__name__}"
        )
    found = {
        str(token.get("content")): int(i)
        for i, token in added.items()
        if isinstance(token, dict) and _ID.fullmatch(i)
    }
    found |= _plain(read_json(folder / "added_tokens.json") or {})
    names = _additional(config) or _additional(read_json(folder / "special_tokens_map.json") or {})
    for number, name in enumerate(names):
        found.setdefault(name, first + number)
    languages = {name: i for name, i in found.items() if name not in _FAIRSEQ_SPECIAL}
    if not languages:
        raise CheckpointError(
            f"{folder} must name the model's languages, in tokenizer_config.json or "
            "special_tokens_map.json, but does not"
        )
    return {name: i for name, i in languages.items() if name != "<mask>"}


def _plain(values: Mapping[str, Any]) -> dict[str, int]:
    return {name: i for name, i in values.items() if type(i) is int}


def _additional(values: Mapping[str, Any]) -> list[str]:
    for key in ("additional_special_tokens", "extra_special_tokens"):
        if isinstance(values.get(key), list):
            return [
                str(one.get("content")) if isinstance(one, dict) else str(one)
                for one in values[key]
            ]
    return []


def _fairseq_ids(folder: Path) -> tuple[dict[str, int], dict[str, int]]:
    """Return the ids of NLLB: sentencepiece's, moved on by one behind fairseq's four, languages."""
    processor = sentencepiece.SentencePieceProcessor()
    path = folder / "sentencepiece.bpe.model"
    try:
        processor.LoadFromSerializedProto(_sentencepiece(path))
    except RuntimeError as error:
        raise CheckpointError(f"{path} must be a sentencepiece model ({error})") from error
    size = processor.GetPieceSize()
    ids = {name: i for i, name in enumerate(_FAIRSEQ_SPECIAL)}
    ids |= {processor.IdToPiece(i): i + 1 for i in range(3, size)}
    return ids, _added(folder, first=size + 1)


def _case(folder: Path) -> Case:
    config = read_json(folder / "tokenizer_config.json") or {}
    if config.get("do_upper_case"):
        return "upper"
    return "lower" if config.get("do_lower_case") else ""
