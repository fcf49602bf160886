"""The speech-translation TED corpus of IWSLT 2018 and 2019: English talks into German.

https://workshop2018.iwslt.org and https://doi.org/10.5281/zenodo.3525578; how the files are laid
out: https://github.com/espnet/espnet/tree/master/egs/iwslt18/st1/local. The folder is the one above
these, or ``iwslt-corpus`` itself; ``train/`` and ``SET/`` may be left away::

    train/iwslt-corpus/wav/ted_1.wav
    train/iwslt-corpus/parallel/train.yaml       the segments
    train/iwslt-corpus/parallel/train.{en,de}    their transcripts and translations, line by line
    SET/IWSLT.SET/IWSLT.TED.SET.en-de.{en,de}.xml    SET: dev2010, tst2010, tst2013, ...
    SET/IWSLT.SET/wavs/SET.en.talkid1.wav

**Filtered.** Segments and sentences of the train part were aligned by machine, and many do not
belong together. The paper's Table 5 has a filtered corpus of 145,372 segments (220 hours) and does
not say how it was filtered. Here a segment with all its tasks is left out, counted by its first
reason, where ``AlignmentFilter`` finds:

1. no transcript, or no translation;
2. less than ``min_seconds``;
3. seconds per character of the transcript outside ``min_seconds_per_character`` to
   ``max_seconds_per_character``: text that nobody can say so fast, or speech that has more in it;
4. characters of the translation per character of the transcript outside ``min_length_ratio`` to
   ``max_length_ratio``.

**Evaluation sets** give text translation alone: dev2010 is dev, tst2010 (the paper's) is test, the
others keep their names. Their speech is cut by machine into pieces that are not the sentences of
the references, so that no piece has a text; recognition and speech translation are left out.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections import Counter
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING

from taskaware.data.corpora.files import read_parallel, require_file, require_folder
from taskaware.data.corpora.languages import wanted_languages
from taskaware.data.corpora.rows import ASR, MT, ST, Found, LeftOut, Request, Row
from taskaware.data.corpora.segment_list import read_segment_list
from taskaware.data.corpora.segments import Segment, SegmentRows
from taskaware.errors import CorpusError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SPLITS = {"dev2010": "dev", "tst2010": "test"}
_SET = re.compile(r"IWSLT\.((?:dev|tst)\d{4})")
_TEXTS = "IWSLT.TED.{set}.en-de.{language}.xml"


@dataclass(frozen=True, kw_only=True)
class AlignmentFilter:
    """Which segments of the train part are taken for well aligned. The numbers are our choice.

    Attributes:
        min_seconds: Shortest segment (seconds).
        min_seconds_per_character: Fastest speech: 33 characters a second is twice what speakers at
            TED say.
        max_seconds_per_character: Slowest speech: 4 characters a second is a quarter of that, so
            that a short answer with a pause around it stays.
        min_length_ratio: Fewest characters of German for one of English.
        max_length_ratio: Most characters of German for one of English; usual is 1.1.
    """

    min_seconds: float = 0.3
    min_seconds_per_character: float = 0.03
    max_seconds_per_character: float = 0.25
    min_length_ratio: float = 0.4
    max_length_ratio: float = 2.5

    def reason(self, duration_seconds: float, transcript: str, translation: str) -> str:
        """Return why a segment is left out; empty: it is kept. Bounds themselves are kept."""
        if not transcript:
            return "no transcript"
        if not translation:
            return "no translation"
        if duration_seconds < self.min_seconds:
            return f"the segment is shorter than {self.min_seconds:g} s"
        seconds_per_character = duration_seconds / len(transcript)
        if seconds_per_character < self.min_seconds_per_character:
            return f"less than {self.min_seconds_per_character:g} s a character of the transcript"
        if seconds_per_character > self.max_seconds_per_character:
            return f"more than {self.max_seconds_per_character:g} s a character of the transcript"
        ratio = len(translation) / len(transcript)
        if ratio < self.min_length_ratio:
            return f"the translation is less than {self.min_length_ratio:g} times the transcript"
        if ratio > self.max_length_ratio:
            return f"the translation is more than {self.max_length_ratio:g} times the transcript"
        return ""


def read(request: Request, alignment: AlignmentFilter | None = None) -> Iterator[Found]:
    """Yield the corpus's rows: the train part, then the evaluation sets.

    Args:
        request: What the user asks.
        alignment: What is filtered; ``None``: by the defaults.

    Raises:
        CorpusError: The folder has no part of the corpus, or one that is not as released.
    """
    folder = require_folder(request.folder, "the unpacked IWSLT speech-translation TED corpus")
    places = [folder, *sorted(path for path in folder.iterdir() if path.is_dir())]
    train = next((place for place in _with_children(places) if _is_train(place)), None)
    sets = {
        match[1]: path
        for path in _with_children(places)
        if (match := _SET.fullmatch(path.name)) and path.is_dir()
    }
    if train is None and not sets:
        raise CorpusError(
            f"{folder} must contain iwslt-corpus with parallel/train.yaml, or an evaluation set "
            "such "
            "as tst2010/IWSLT.tst2010, but does not: give the folder that the archives "
            "were unpacked in"
        )
    wanted_languages(request, ("de",))
    if train is not None:
        yield from _read_train(train, request, alignment or AlignmentFilter())
    for name, path in sorted(sets.items()):
        yield from _read_set(path, name, request)


def _with_children(folders: list[Path]) -> Iterator[Path]:
    for folder in folders:
        yield folder
        yield from sorted(path for path in folder.iterdir() if path.is_dir())


def _is_train(folder: Path) -> bool:
    return (folder / "parallel" / "train.yaml").is_file()


def _read_train(folder: Path, request: Request, alignment: AlignmentFilter) -> Iterator[Found]:
    rows = SegmentRows(request.kinds)
    yaml, *texts = (folder / "parallel" / f"train.{end}" for end in ("yaml", "en", "de"))
    texts = [require_file(path, "a file of the TED corpus") for path in texts]
    num_segments: Counter[str] = Counter()  # by talk
    for listed, lines in zip_longest(read_segment_list(yaml), read_parallel(*texts)):
        if listed is None or lines is None:
            raise CorpusError(
                f"{yaml} must have as many segments as {texts[0]} has lines, but has "
                f"{'fewer' if listed is None else 'more'}: unpack the corpus again"
            )
        transcript, translation = (line.strip() for line in lines)
        talk = listed.recording.removesuffix(".wav")
        talk = talk or "ted_" + listed.speaker.removeprefix("spk.")  # talks and speakers are one
        num_segments[talk] += 1
        reason = alignment.reason(listed.duration_seconds, transcript, translation)
        if reason:
            yield LeftOut(split="train", place=listed.place, reason=reason)
            continue
        segment = Segment(
            split="train",
            id=f"iwslt-{talk}-{num_segments[talk]:04d}",  # MuST-C has the same talks
            place=listed.place,
            dataset="iwslt_ted",
            source_language="en",
            target_language="de",
            recording=talk,
            audio=folder / "wav" / f"{talk}.wav",
            start_seconds=listed.start_seconds,
            duration_seconds=listed.duration_seconds,
            transcript=transcript,
            translation=translation,
            speaker=listed.speaker,
        )
        yield from rows.rows(segment)


def _read_set(folder: Path, name: str, request: Request) -> Iterator[Found]:
    split = _SPLITS.get(name, name)
    english, german = (folder / _TEXTS.format(set=name, language=end) for end in ("en", "de"))
    if not (english.is_file() and german.is_file()):  # tst2019 and later
        yield LeftOut(split=split, place=str(folder), reason="a set without transcripts and texts")
        return
    for source, target in zip_longest(_read_xml(english), _read_xml(german)):
        if source is None or target is None or source[:2] != target[:2]:
            talk, sentence = (source or target)[:2]  # type: ignore[index]
            raise CorpusError(
                f"{english} and {german} must have the same sentences, but differ at talk {talk}, "
                f"sentence {sentence}: unpack {name} again"
            )
        place = f"{english}, talk {source[0]}, sentence {source[1]}"
        if {ASR, ST} & set(request.kinds):
            reason = "speech of an evaluation set, cut by machine and not by sentence"
            yield LeftOut(split=split, place=place, reason=reason)
        if MT not in request.kinds:
            continue
        if not (source[2] and target[2]):
            reason = "no translation" if source[2] else "no transcript"
            yield LeftOut(split=split, place=place, reason=reason)
            continue
        utterance = f"{name}-{source[0]}-{source[1]}"
        yield Row(
            split=split,
            id=f"{utterance}-mt-de",
            kind=MT,
            dataset="iwslt_ted",
            source_language="en",
            target_language="de",
            source_text=source[2],
            target_text=target[2],
            utterance=utterance,
        )


def _read_xml(path: Path) -> Iterator[tuple[str, str, str]]:
    """Yield talk, number of the sentence in it, and the sentence with single spaces."""
    talk = ""
    try:
        with path.open("rb") as file:
            for event, element in ElementTree.iterparse(file, events=("start", "end")):
                if event == "start" and element.tag == "doc":
                    talk = element.get("docid", "").strip()
                elif event == "end" and element.tag == "seg":
                    text = " ".join("".join(element.itertext()).split())
                    yield talk, element.get("id", "").strip(), text
                elif event == "end" and element.tag == "doc":
                    element.clear()
    except ElementTree.ParseError as error:
        raise CorpusError(f"{path} must be XML, but is not ({error})") from error
