"""One vocabulary of word pieces for all tasks, without loss on any Unicode text.

Sentencepiece's byte-pair encoding with byte fallback learns the pieces and cuts texts; a pretrained
model may bring a byte-level one. Around it, this file keeps three promises that sentencepiece alone
does not: every text comes back exactly, the names of control pieces in a text stay ordinary text,
and a size that the texts cannot fill is lowered instead of refused.
"""

from __future__ import annotations

import hashlib
import io
import logging
from pathlib import Path
from typing import TYPE_CHECKING

import sentencepiece

from taskaware.data.vocabulary import mapped_pieces, sentence_pieces, tokenizer_pieces
from taskaware.data.vocabulary.mapped_pieces import MappedPieces
from taskaware.data.vocabulary.sentence_pieces import SentencePieces
from taskaware.data.vocabulary.tokenizer_pieces import TokenizerPieces
from taskaware.errors import DataError, UserError, nearest
from taskaware.files import parse_json, read_regular

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_NUM_SPECIAL_PIECES = 4
# Written into the model file, so it is fixed: equal texts give equal bytes. More are not faster.
_NUM_THREADS = 1
_NEVER_TOO_LARGE = 1000  # pieces
_LEAST_USES, _GOOD_USES = 10, 40  # of a piece in the training texts
_TEXTS_PER_CALL = 1000
_MAX_LINE_BYTES = 1 << 20  # longer lines are not trained on

_log = logging.getLogger(__name__)


def too_large(vocabulary: Vocabulary, texts: Sequence[str]) -> str:
    """Return a remark where training texts are far too few for a vocabulary, else an empty text.

    Rule: a vocabulary of more than 1,000 pieces, and fewer than 10 pieces of text for each. A piece
    that is seen a few times is hardly learnt, and a text of smaller pieces is. No more texts are
    cut into pieces than it takes to know.
    """
    enough = _LEAST_USES * vocabulary.size
    if vocabulary.size <= _NEVER_TOO_LARGE:
        return ""
    total = 0
    for start in range(0, len(texts), _TEXTS_PER_CALL):
        total += sum(map(len, vocabulary.encode_many(texts[start : start + _TEXTS_PER_CALL])))
        if total >= enough:
            return ""
    fitting = max(_NEVER_TOO_LARGE // 2, total // _GOOD_USES // 100 * 100)
    return (
        f"the vocabulary has {vocabulary.size:,} pieces, but the training texts hold only "
        f"{total:,}, {total / vocabulary.size:.1f} for each: far too few to learn them by; fewer "
        f"pieces suit this data better, for example --vocabulary-size {fitting}"
    )


def task_tag(task_name: str) -> str:
    """Return the name of the piece that stands for a task."""
    return f"<task:{task_name}>"


class Vocabulary:
    """Word pieces: text to piece ids and back.

    ``decode(encode(text)) == text`` for every text without lone surrogates.

    Attributes:
        PAD: Id of the piece that fills a batch.
        BOS: Id of the begin-of-sequence piece.
        EOS: Id of the end-of-sequence piece.
        UNK: Id of the unknown piece; no text needs it, as all bytes are pieces.
        NEVER: Ids that no output has.
        family: The ``model_type`` of the pretrained model that it belongs to; empty for those that
            are trained here.
        model_bytes: The sentencepiece model, or that of a pretrained model, as in the file.
    """

    # Those of every vocabulary that is trained here; one of a pretrained model has its own.
    PAD: int = sentence_pieces.PAD
    BOS: int = sentence_pieces.BOS
    EOS: int = sentence_pieces.EOS
    UNK: int = sentence_pieces.UNK

    def __init__(self, model_bytes: bytes) -> None:
        """Make a vocabulary from a sentencepiece model, or from what ``tokenizer_bytes`` gives.

        Raises:
            DataError: The model is neither.
            MissingDependencyError: It needs a library that is not installed.
        """
        self.model_bytes = model_bytes
        self._pieces = _open(model_bytes)
        self.family = self._pieces.family
        self.PAD, self.BOS, self.EOS, self.UNK = self._pieces.special
        self.NEVER: tuple[int, ...] = self._pieces.never

    @classmethod
    def train(cls, texts: Iterable[str], *, size: int, tags: Sequence[str] = ()) -> Vocabulary:
        """Learn pieces from texts; equal texts, size and tags give equal bytes.

        Args:
            texts: What to learn from, in any number; their order matters little but not nothing.
            size: Number of pieces, all special pieces included. Where the texts hold fewer, the
                vocabulary has as many as there are, and the log says so.
            tags: Names of pieces that no text contains, for example ``"<task:mt>"``.

        Raises:
            UserError: There is no text, or ``size`` is below the number of special pieces, bytes
                and characters.
        """
        lines = [" " + text for text in texts if text]
        if not lines:
            raise UserError("a vocabulary must be trained on at least one text, but there is none")
        model = io.BytesIO()
        try:
            sentencepiece.SentencePieceTrainer.Train(
                sentence_iterator=iter(lines),
                model_writer=model,
                model_type="bpe",
                vocab_size=size,
                hard_vocab_limit=False,
                character_coverage=1.0,
                byte_fallback=True,
                normalization_rule_name="identity",
                remove_extra_whitespaces=False,
                add_dummy_prefix=False,
                max_sentence_length=_MAX_LINE_BYTES,
                pad_id=cls.PAD,
                bos_id=cls.BOS,
                eos_id=cls.EOS,
                unk_id=cls.UNK,
                control_symbols=list(dict.fromkeys(tags)),
                num_threads=_NUM_THREADS,
                minloglevel=2,
            )
        except RuntimeError as error:
            num_characters = len(set().union(*lines))
            least = _NUM_SPECIAL_PIECES + 256 + len(set(tags)) + num_characters
            if size >= least:
                raise
            raise UserError(
                f"the vocabulary size must be at least {least} for these texts ({num_characters} "
                f"characters, 256 bytes, special pieces), but is {size}: ask for more pieces"
            ) from error
        vocabulary = cls(model.getvalue())
        if vocabulary.size < size:
            _log.info(
                "the texts hold %d pieces, fewer than the %d asked for", vocabulary.size, size
            )
        return vocabulary

    @classmethod
    def load(cls, path: Path | str) -> Vocabulary:
        """Read a vocabulary that ``save`` wrote.

        Raises:
            DataError: The file is missing or is not such a vocabulary.
        """
        if not Path(path).exists():
            raise DataError(f"{path}: the vocabulary file does not exist")
        try:
            return cls(read_regular(Path(path)))
        except OSError as error:
            reason = error.strerror or error
            raise DataError(f"{path}: the vocabulary must be readable, but: {reason}") from error
        except DataError as error:
            raise DataError(f"{path}: {error}") from error

    def save(self, path: Path | str) -> None:
        """Write the vocabulary's file."""
        Path(path).write_bytes(self.model_bytes)

    @property
    def size(self) -> int:
        """Number of pieces."""
        return len(self._pieces.contents)

    def __len__(self) -> int:
        return self.size

    @property
    def contents(self) -> list[bytes]:
        """What each piece adds to a text, as UTF-8; nothing for those that no text contains."""
        return list(self._pieces.contents)

    @property
    def adds_space(self) -> bool:
        """Whether a text is encoded, and comes back, with a space in front."""
        return self._pieces.adds_space

    @property
    def sha256(self) -> str:
        """Fingerprint of the model file, in hexadecimal."""
        return hashlib.sha256(self.model_bytes).hexdigest()

    def encode(self, text: str) -> list[int]:
        """Return the piece ids of a text, without begin- and end-of-sequence.

        Raises:
            ValueError: The text holds a lone surrogate, which is no character.
        """
        return self.encode_many([text])[0]

    def encode_many(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the piece ids of each text; see ``encode``."""
        for text in texts:
            _check_is_text(text)
        return self._pieces.encode_many(texts)

    def encode_source(self, text: str) -> list[int]:
        """Return the piece ids of a source text: as ``encode``, unless its model has two cutters.

        Raises:
            ValueError: The text holds a lone surrogate, which is no character.
        """
        return self.encode_sources([text])[0]

    def encode_sources(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the piece ids of each source text; see ``encode_source``."""
        for text in texts:
            _check_is_text(text)
        return self._pieces.encode_sources(texts)

    def lost_in(self, text: str, *, is_source: bool = False) -> list[str]:
        """Return the characters of a text that cannot be written since the vocabulary was cut.

        None, where a vocabulary is whole or has all bytes as pieces.
        """
        if not isinstance(self._pieces, MappedPieces):
            return []
        return list(dict.fromkeys(self._pieces.lost_in(text, is_source=is_source)))

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of pieces; pad, begin- and end-of-sequence and tags are left out.

        Bytes that are not valid UTF-8, which a model may produce, become U+FFFD.

        Raises:
            ValueError: An id is not in the vocabulary.
        """
        ids = list(ids)
        if any(not 0 <= i < self.size for i in ids):
            raise ValueError(f"piece ids must be from 0 to {self.size - 1}, but are {ids}")
        data = b"".join([self._pieces.contents[i] for i in ids])
        text = data.decode("utf-8", errors="replace")
        return text.removeprefix(" ") if self._pieces.adds_space else text

    def pieces(self, ids: Iterable[int]) -> list[str]:
        """Return the pieces as they are written (U+2581 is sentencepiece's space), for display."""
        return [self._pieces.names[int(i)] for i in ids]

    @property
    def control_ids(self) -> list[int]:
        """The ids of all pieces that no text contains."""
        return sorted({*self._pieces.tags.values(), *self._pieces.special})

    @property
    def tags(self) -> list[str]:
        """The names of the pieces that no text contains."""
        return list(self._pieces.tags)

    def has_tag(self, tag: str) -> bool:
        """Return whether ``tag`` is a piece that no text contains."""
        return tag in self._pieces.tags

    def tag_id(self, tag: str) -> int:
        """Return the id of a tag.

        Raises:
            DataError: The vocabulary was not trained with this tag.
        """
        if not self.has_tag(tag):
            raise DataError(
                f"the vocabulary must have the tag '{tag}', but does not have it"
                f"{nearest(tag, self._pieces.tags)}: prepare the data again with a vocabulary that "
                "is trained with it"
            )
        return self._pieces.tags[tag]


def _open(model_bytes: bytes) -> SentencePieces | TokenizerPieces | MappedPieces:
    if model_bytes[:1] != b"{":
        return SentencePieces(model_bytes)
    try:
        values = parse_json(model_bytes)
        match values.get("format"):
            case tokenizer_pieces.FORMAT:
                return TokenizerPieces(values)
            case mapped_pieces.FORMAT:
                return MappedPieces(values)
    except UnicodeEncodeError as error:
        raise DataError(f"the vocabulary's pieces must be valid Unicode, but: {error}") from error
    except ValueError as error:
        raise DataError(f"the vocabulary must be a JSON file, but: {error}") from error
    raise DataError(
        f"the vocabulary must be of the format '{tokenizer_pieces.FORMAT}' or "
        f"'{mapped_pieces.FORMAT}', but is not: `taskaware import` makes one"
    )


def _check_is_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"a text must be valid Unicode, but contains a lone surrogate at position "
            f"{error.start}: {text[max(0, error.start - 10) : error.end + 10]!r}"
        ) from error
