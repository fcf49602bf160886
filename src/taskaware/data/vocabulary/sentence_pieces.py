"""Sentencepiece as a vocabulary uses it: texts to ids, and the bytes that each id stands for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import sentencepiece

from taskaware.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

PAD, BOS, EOS, UNK = range(4)
_SPACE = "\u2581"  # how sentencepiece writes a space inside a piece, so that it cannot mean itself
_SPACE_BYTES = _SPACE.encode()
# For a list sentencepiece starts a thread for each core, whatever it holds: as long as some hundred
# texts take. A batch has fewer than these, a split that is prepared has more.
_TEXTS_FOR_THREADS = 1000
BYTE_NAMES = frozenset(f"<0x{byte:02X}>" for byte in range(256))
_BYTE_PIECE = re.compile(r"<0x([0-9A-F]{2})>")


class SentencePieces:
    """A sentencepiece model with byte fallback, made by ``Vocabulary.train``.

    Attributes:
        family: Of a pretrained model; none.
        special: Ids of pad, begin-of-sequence, end-of-sequence, unknown.
        never: Ids that no output has.
        names: The pieces as they are written.
        contents: What each piece adds to a text, as UTF-8.
        tags: Ids of the pieces that no text contains, by their names.
        adds_space: Whether a text is encoded, and comes back, with a space in front.
    """

    family = ""

    def __init__(self, model_bytes: bytes) -> None:
        """Open a serialised model.

        Raises:
            DataError: It is not one that ``Vocabulary.train`` makes.
        """
        self._processor = processor = sentencepiece.SentencePieceProcessor()
        try:
            processor.LoadFromSerializedProto(model_bytes)
            self.names = [processor.IdToPiece(i) for i in range(processor.GetPieceSize())]
        except (RuntimeError, UnicodeDecodeError) as error:
            raise DataError(f"the vocabulary must be a sentencepiece model ({error})") from error
        special = (processor.pad_id(), processor.bos_id(), processor.eos_id(), processor.unk_id())
        if special != (PAD, BOS, EOS, UNK) or not set(self.names) >= BYTE_NAMES:
            raise DataError(
                "the vocabulary must have the pieces pad 0, bos 1, eos 2, unk 3 and all 256 bytes, "
                f"but has pad, bos, eos, unk {special}: train one with `taskaware prepare`"
            )
        self.special = special
        self.never = (PAD, BOS)
        self.adds_space = True
        self.tags = {piece: i for i, piece in enumerate(self.names) if processor.IsControl(i)}
        self.contents = [self._content(i, piece) for i, piece in enumerate(self.names)]
        ids = {piece: i for i, piece in enumerate(self.names)}
        self._space_ids = [ids[f"<0x{byte:02X}>"] for byte in _SPACE_BYTES]

    def encode_many(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of each text, which has no lone surrogate."""
        # The space in front makes a first word the same piece as the word inside a sentence.
        texts = [" " + text for text in texts]
        if len(texts) < _TEXTS_FOR_THREADS:
            encoded = [self._processor.EncodeAsIds(text) for text in texts]
        else:
            encoded = self._processor.EncodeAsIds(texts)
        for row, text in enumerate(texts):
            if _SPACE in text:
                encoded[row] = self._encode_with_space_sign(text)
        return encoded

    def encode_sources(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of source texts: as those of targets."""
        return self.encode_many(texts)

    def _content(self, piece_id: int, piece: str) -> bytes:
        if piece in self.tags or piece_id <= UNK:
            return b""
        if match := _BYTE_PIECE.fullmatch(piece):
            return bytes([int(match[1], 16)])
        return piece.replace(_SPACE, " ").encode()

    def _encode_with_space_sign(self, text: str) -> list[int]:
        """Encode U+2581 as its three bytes, as sentencepiece would take it for a space."""
        ids: list[int] = []
        for number, part in enumerate(text.split(_SPACE)):
            if number:
                ids += self._space_ids
            if part:
                ids += self._processor.EncodeAsIds(part)
        return ids
