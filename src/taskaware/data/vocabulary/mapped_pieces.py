"""Sentencepiece models whose pieces another library numbered anew, as a vocabulary uses them.

What Marian, M2M100, NLLB and Speech2Text come with. They change some texts (their sentencepiece
normalises, and has no bytes for what it does not know), as their training did. What a vocabulary's
file holds is JSON, so that it is one file as any other vocabulary.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import TYPE_CHECKING, Any, Literal

import sentencepiece

from taskaware.data.vocabulary.tokenizer_pieces import require_size
from taskaware.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FORMAT = "taskaware mapped sentence pieces"
Case = Literal["", "lower", "upper"]
_KEYS = ("family", "pad", "begin", "end", "unknown", "size", "case", "ids", "controls")
_MODELS = ("source_model", "target_model")
_SPACE = "\u2581"
BYTE_PIECE = re.compile(r"<0x([0-9A-F]{2})>")


def mapped_bytes(
    *,
    family: str,
    ids: Mapping[str, int],
    controls: Mapping[str, int],
    source_model: bytes,
    target_model: bytes,
    pad: int,
    begin: int,
    end: int,
    unknown: int,
    size: int,
    case: Case = "",
    lost: Sequence[str] = (),
) -> bytes:
    """Return what the vocabulary's file holds.

    Args:
        family: The ``model_type`` of the model; says how its prompts are made.
        ids: The id of each piece.
        controls: The id of each piece that no text contains, such as those of languages.
        source_model: The sentencepiece model that cuts sources.
        target_model: The one that cuts targets.
        pad: Id of the piece that fills a batch.
        begin: Id of the decoder's first piece.
        end: Id of the end-of-sequence piece.
        unknown: Id of the piece for what has none.
        size: Rows of the model's embedding.
        case: What texts are changed to, ``""``: nothing.
        lost: The characters that were pieces before the vocabulary was cut.
    """
    models = dict(zip(_MODELS, (source_model, target_model), strict=True))
    values = {"format": FORMAT, "family": family, "pad": pad, "begin": begin, "end": end}
    values |= {"unknown": unknown, "size": size, "case": case}
    values |= {"controls": dict(controls), "ids": dict(ids)}
    if lost:
        values["lost"] = list(lost)
    values |= {name: base64.b64encode(model).decode() for name, model in models.items()}
    return json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode()


class MappedPieces:
    """Sentencepiece models and the ids that another library gave their pieces.

    Attributes:
        family: See ``mapped_bytes``.
        special: Ids of pad, begin-of-sequence, end-of-sequence, unknown.
        never: Ids that no output has: none beside those that the decoding settings suppress.
        names: The pieces as they are written.
        contents: What each piece adds to a text, as UTF-8.
        tags: Ids of the pieces that no text contains, by their names.
        adds_space: Sentencepiece puts a space before a text, which is taken away again.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        """Open what ``mapped_bytes`` made, read as JSON.

        Raises:
            DataError: It is something else, or does not fit together.
        """
        if missing := [key for key in (*_KEYS, *_MODELS) if key not in values]:
            raise DataError(f"the vocabulary must say {missing[0]}, but does not")
        ids, controls, size = values["ids"], values["controls"], values["size"]
        require_size(size)
        lost = values.get("lost", ())
        if not isinstance(ids, dict) or not isinstance(controls, dict):
            raise DataError("the vocabulary's `ids` and `controls` must be JSON objects")
        if not isinstance(lost, list | tuple) or not all(isinstance(one, str) for one in lost):
            raise DataError("the vocabulary's `lost` must be a list of texts")
        self.special: tuple[int, int, int, int] = (
            values["pad"],
            values["begin"],
            values["end"],
            values["unknown"],
        )
        numbers = [*ids.values(), *controls.values(), *self.special]
        wrong = [i for i in numbers if type(i) is not int or not 0 <= i < size]
        if wrong:
            raise DataError(
                f"the ids of pieces must be from 0 to {size - 1}, as the model's embedding has "
                f"{size} rows, but one is {str(wrong[0])[:40]}: they belong to another model"
            )
        self.family = str(values["family"])
        self.never = ()
        self.adds_space = True
        self.tags: dict[str, int] = dict(controls)
        self._ids: dict[str, int] = dict(ids)
        self._case = values["case"]
        self._lost = frozenset(lost)
        self._source, self._target = (_processor(values[name], name) for name in _MODELS)
        self.names = [f"<unused:{i}>" for i in range(size)]
        self.contents = [b""] * size
        silent = {*controls.values(), *self.special}
        for name, piece in (*ids.items(), *controls.items()):
            self.names[piece] = name
            if piece not in silent:
                self.contents[piece] = _content(name)

    def encode_many(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of target texts."""
        return self._encode(self._target, texts)

    def encode_sources(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of source texts."""
        return self._encode(self._source, texts)

    def lost_in(self, text: str, *, is_source: bool) -> list[str]:
        """Return the characters of a text that were pieces before the vocabulary was cut."""
        if not self._lost:
            return []
        processor = self._source if is_source else self._target
        return [piece for piece in self._cut(processor, text) if piece in self._lost]

    def _encode(self, processor: Any, texts: Sequence[str]) -> list[list[int]]:
        unknown = int(self.special[3])
        return [
            [self._ids.get(piece, unknown) for piece in self._cut(processor, text)]
            for text in texts
        ]

    def _cut(self, processor: Any, text: str) -> list[str]:
        match self._case:
            case "lower":
                text = text.lower()
            case "upper":
                text = text.upper()
        return processor.encode(text, out_type=str)


def _processor(encoded: str, name: str) -> Any:
    processor = sentencepiece.SentencePieceProcessor()
    try:
        processor.LoadFromSerializedProto(base64.b64decode(encoded, validate=True))
        for piece in range(processor.GetPieceSize()):
            processor.IdToPiece(piece)  # not valid UTF-8 in a file that is damaged
    except (RuntimeError, binascii.Error, TypeError, ValueError) as error:
        raise DataError(f"{name} must be a sentencepiece model ({error})") from error
    return processor


def _content(piece: str) -> bytes:
    if match := BYTE_PIECE.fullmatch(piece):
        return bytes([int(match[1], 16)])
    return piece.replace(_SPACE, " ").encode()
