"""Sentencepiece models with ids of their own, cut to the pieces that some texts need.

What is cut is marked as unused in the sentencepiece models, which then never write it: a text whose
pieces are all kept is cut as before, any other by smaller pieces. Single characters are never
marked, so that one which has lost its id is known to be lost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskaware.data.vocabulary.mapped_pieces import BYTE_PIECE
from taskaware.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# Of the wire format of protocol buffers (https://protobuf.dev/programming-guides/encoding), and of
# sentencepiece_model.proto: `repeated SentencePiece pieces = 1`, in which `piece = 1`, `type = 3`.
_BYTES = 2  # the kind of a field whose length stands before it
_PIECES = _PIECE = 1 << 3 | _BYTES
_UNUSED = bytes([3 << 3, 5])


def kept_ids(ids: Mapping[str, int], used: set[int]) -> set[int]:
    """Return the ids of pieces that stay: those used, and their characters.

    Where there are bytes, they stay and so do all characters: such a vocabulary loses none.

    Args:
        ids: The id of each piece.
        used: The ids of the pieces of the texts.
    """
    byte_pieces = {i for name, i in ids.items() if BYTE_PIECE.fullmatch(name)}
    if byte_pieces:
        return set(used) | byte_pieces | {i for name, i in ids.items() if len(name) == 1}
    characters = {c for name, i in ids.items() if i in used for c in name}
    return set(used) | {i for name, i in ids.items() if name in characters}


def without_pieces(model: bytes, names: Iterable[str]) -> bytes:
    """Return a sentencepiece model that never writes the pieces of more than one character.

    Args:
        model: Serialised.
        names: Of the pieces; those that it does not have are passed over.

    Raises:
        DataError: It is no sentencepiece model.
    """
    unused = {name.encode() for name in names if len(name) > 1}
    parts, start = [], 0
    try:
        while start < len(model):
            tag, at = _number(model, start)
            if tag & 7 != _BYTES:
                raise IndexError
            length, at = _number(model, at)
            field, end = model[at : at + length], at + length
            if tag == _PIECES and _name(field) in unused:
                # The last value of a field counts.
                parts += [_written(_PIECES), _written(length + len(_UNUSED)), field, _UNUSED]
            else:
                parts.append(model[start:end])
            start = end
    except IndexError as error:
        raise DataError("a vocabulary to cut must hold sentencepiece models, but does not") from (
            error
        )
    return b"".join(parts)


def _name(piece: bytes) -> bytes:
    tag, at = _number(piece, 0)
    length, at = _number(piece, at)
    return piece[at : at + length] if tag == _PIECE else b""


def _number(data: bytes, at: int) -> tuple[int, int]:
    """Return a number of seven bits a byte, the lowest first, and where it ends."""
    value = shift = 0
    while True:
        byte, at = data[at], at + 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def _written(value: int) -> bytes:
    low = []
    while value > 0x7F:
        low.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*low, value])
