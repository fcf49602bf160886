"""A byte-level BPE of Hugging Face's tokenizers library, as a vocabulary uses it.

What a vocabulary's file holds is JSON: ``tokenizer.json`` as its model came with it, and what that
does not say, the special pieces and the number of rows of the embedding.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from taskaware.errors import DataError, MissingDependencyError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FORMAT = "taskaware byte-level pieces"
_KEYS = ("family", "pad", "begin", "end", "adds_space", "size", "tokenizer")
_MOST_PIECES = 1 << 22  # sixteen times those of the largest vocabulary known
_MISSING = (
    "a byte-level vocabulary needs the tokenizers library: pip install 'taskaware[pretrained]'"
)


def tokenizer_bytes(
    tokenizer: Mapping[str, Any],
    *,
    family: str = "",
    pad: int,
    begin: int,
    end: int,
    size: int,
    adds_space: bool = True,
) -> bytes:
    """Return what the vocabulary's file holds.

    Args:
        tokenizer: The content of ``tokenizer.json``.
        family: The ``model_type`` of the model; says how its prompts are made.
        pad: Id of the piece that fills a batch.
        begin: Id of the decoder's first piece.
        end: Id of the end-of-sequence piece.
        size: Rows of the model's embedding, some of them perhaps without a piece.
        adds_space: Whether a text has a space in front, as in Whisper's training.
    """
    values = {
        "format": FORMAT,
        "family": family,
        "pad": pad,
        "begin": begin,
        "end": end,
        "size": size,
    }
    values |= {"adds_space": adds_space, "tokenizer": tokenizer}
    return json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode()


class TokenizerPieces:
    """A byte-level BPE; its added pieces are control pieces, which no text contains.

    Attributes:
        family: Of the pretrained model: the ``model_type`` that the file says.
        special: Ids of pad, begin-of-sequence, end-of-sequence and unknown; no text needs the last,
            which is the padding.
        never: Ids that no output has: none beside those that the decoding settings suppress.
        names: The pieces as they are written.
        contents: What each piece adds to a text, as UTF-8.
        tags: Ids of the control pieces by their names.
        adds_space: Whether a text is encoded, and comes back, with a space in front.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        """Open what ``tokenizer_bytes`` made, read as JSON.

        Raises:
            DataError: It is something else, or no byte-level BPE, or does not fit together.
            MissingDependencyError: The tokenizers library is not installed.
        """
        _check(values)
        self.family = str(values["family"])
        tokenizer = _checked(values["tokenizer"])
        self._tokenizer = _open(tokenizer)
        vocabulary = self._tokenizer.get_vocab(with_added_tokens=True)
        self.names = [f"<unused:{i}>" for i in range(values["size"])]
        largest = max(vocabulary.values(), default=0)
        if largest >= values["size"]:
            raise DataError(
                f"the tokenizer must have at most {values['size']} pieces, as the model's "
                f"embedding has no more rows, but has a piece {largest}: it belongs to another "
                "model"
            )
        _require_own_ids(vocabulary, tokenizer["added_tokens"])
        for name, piece in vocabulary.items():
            self.names[piece] = name
        self.tags = {token["content"]: int(token["id"]) for token in tokenizer["added_tokens"]}
        self.special = (values["pad"], values["begin"], values["end"], values["pad"])
        self.never = ()
        self.adds_space = bool(values["adds_space"])
        self.contents = [b""] * values["size"]
        controls = {*self.tags.values(), *self.special}
        for name, piece in vocabulary.items():
            if piece not in controls:
                self.contents[piece] = _bytes_of(name)
        missing = 256 - len({content for content in self.contents if len(content) == 1})
        if missing:
            raise DataError(
                f"a byte-level vocabulary must have all 256 bytes as pieces, but lacks {missing}"
            )

    def encode_many(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of each text, which has no lone surrogate."""
        space = " " if self.adds_space else ""
        return [
            self._tokenizer.encode(space + text, add_special_tokens=False).ids for text in texts
        ]

    def encode_sources(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of source texts: as those of targets."""
        return self.encode_many(texts)


def _check(values: Mapping[str, Any]) -> None:
    if missing := [key for key in _KEYS if key not in values]:
        raise DataError(f"the vocabulary must say {', '.join(_KEYS)}, but lacks {missing[0]}")
    size = values["size"]
    require_size(size)
    for key in ("pad", "begin", "end"):
        if type(values[key]) is not int or not 0 <= values[key] < size:
            shown = repr(values[key])[:40]
            raise DataError(
                f"the id of the piece '{key}' must be from 0 to {size - 1}, but is {shown}"
            )


def require_size(size: object) -> None:
    """Require that a vocabulary's size is one: a list is made of that many pieces.

    Raises:
        DataError: It is no whole number, or none of pieces that a model can have.
    """
    if type(size) is not int or not 1 <= size <= _MOST_PIECES:
        raise DataError(
            f"the vocabulary's size must be from 1 to {_MOST_PIECES:,}, but is {repr(size)[:40]}"
        )


def _checked(tokenizer: Any) -> dict[str, Any]:
    """Return a ``tokenizer.json`` that cuts every text without loss, else refuse it."""
    tokenizer = dict(tokenizer) if isinstance(tokenizer, dict) else {}
    parts = {part: tokenizer.get(part) or {} for part in ("model", "decoder", "normalizer")}
    kinds = {
        name: str(part.get("type") or "") if isinstance(part, dict) else str(part)[:40]
        for name, part in parts.items()
    }
    if kinds["model"] != "BPE" or kinds["decoder"] != "ByteLevel" or kinds["normalizer"]:
        raise DataError(
            "tokenizer.json must be a byte-level BPE without a normaliser, so that every text "
            f"comes back as it was, but has model {kinds['model']}, decoder {kinds['decoder']}, "
            f"normaliser {kinds['normalizer'] or 'none'}"
        )
    # As special ones they can be kept out of texts: a text that holds a name stays a text.
    added = tokenizer.get("added_tokens") or []
    if not isinstance(added, list) or not all(map(_is_token, added)):
        raise DataError(
            "tokenizer.json's `added_tokens` must be a list of objects with `content` and `id`"
        )
    added = [dict(token, special=True, normalized=False) for token in added]
    return tokenizer | {"added_tokens": added, "truncation": None, "padding": None}


def _is_token(token: Any) -> bool:
    match token:
        case {"content": str(), "id": int()}:
            return True
    return False


def _open(tokenizer: dict[str, Any]) -> Any:
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise MissingDependencyError(_MISSING) from error
    try:
        opened = Tokenizer.from_str(json.dumps(tokenizer))
    except Exception as error:  # the library has no exception of its own
        raise DataError(f"tokenizer.json cannot be read by the tokenizers library: {error}") from (
            error
        )
    opened.encode_special_tokens = True
    return opened


def _require_own_ids(vocabulary: Mapping[str, int], added: Sequence[Mapping[str, Any]]) -> None:
    """Require that every piece has an id of its own, and the one that ``tokenizer.json`` says.

    The library numbers added pieces anew where their ids do not follow those of the others.

    Raises:
        DataError: Two pieces share an id, or an added one has another.
    """
    by_id: dict[int, str] = {}
    for name, piece in vocabulary.items():
        other = by_id.setdefault(piece, name)
        if other != name:
            first, second = sorted((other, name))
            raise DataError(
                f"every piece of tokenizer.json must have an id of its own, but {first!r} and "
                f"{second!r} have {piece}"
            )
    for token in added:
        name, said, found = token["content"], token["id"], vocabulary.get(token["content"])
        if said != found:
            raise DataError(
                f"the added piece {name!r} of tokenizer.json must have the id {found}, which "
                f"follows from the other pieces, but has {repr(said)[:40]}"
            )


def _byte_characters() -> dict[str, int]:
    """Return which byte each character of a byte-level piece stands for (Radford et al. 2019).

    Printable ones of Latin-1 stand for themselves, the others are counted on from U+0100.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    characters = {chr(byte): byte for byte in printable}
    return characters | {chr(0x100 + number): byte for number, byte in enumerate(others)}


_BYTES = _byte_characters()
BYTE_NAMES = frozenset(_BYTES)  # the pieces of one byte, as they are written


def _bytes_of(piece: str) -> bytes:
    try:
        return bytes(_BYTES[character] for character in piece)
    except KeyError as error:
        raise DataError(
            f"a byte-level piece must be written in bytes, but {piece!r} has {error}"
        ) from error
