"""The file formats of parallel text, each as a reader that yields sentence pairs.

===========  ===================================================================================
plain        Two files that belong together line by line, as the Moses toolkit has them:
             ``europarl-v7.de-en.de`` and ``europarl-v7.de-en.en``; compressed by gzip or not.
tab          ``europarl-v9.de-en.tsv.gz``: source and target are the first two cells of a line.
Moses zip    OPUS's ``de-en.txt.zip``: plain files as members, read without unpacking.
TMX          Translation memories, https://www.gala-global.org/tmx-14b; compressed or not.
SGM          WMT's dev and test sets up to 2020, in which segments have ids. It looks like XML but
             is none: ampersands and angle brackets may stand alone.
WMT XML      WMT's sets from 2021 on, https://github.com/wmt-conference/wmt-format-tools.
===========  ===================================================================================

All but SGM read in flat memory; SGM holds the references of one set (thousands of sentences), since
the two files need not have one order. Texts of lines stay as they are but for the end of the line.
Texts between tags lose the white space at their ends, and a line break in them becomes a space.
Damage raises ``CorpusError`` with the file and the line or segment.
"""

from __future__ import annotations

import gzip
import html
import re
import zipfile
import zlib
from collections import Counter
from contextlib import ExitStack, closing, contextmanager
from itertools import zip_longest
from typing import IO, TYPE_CHECKING, NamedTuple
from xml.etree import ElementTree

from taskaware.data.corpora.files import decoded_lines
from taskaware.errors import CorpusError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from xml.etree.ElementTree import Element

_SGM_TAG = re.compile(r"<(/?)(doc|seg)\b([^>]*)>", re.IGNORECASE)
_ENTITY = re.compile(r"&(?:#[0-9]+|#[xX][0-9a-fA-F]+|[A-Za-z]+);")
_LINE_BREAK = re.compile(r"[ \t]*[\r\n]+[ \t]*")
# Elements of TMX that hold codes of a word processor and not text (TMX 1.4b, section "Inline").
_TMX_CODES = ("bpt", "ept", "it", "ph", "ut")
_XML_LANGUAGE = "{http://www.w3.org/XML/1998/namespace}lang"


class TextPair(NamedTuple):
    """A sentence and its translation.

    Attributes:
        place: Where in the file, e.g. ``"line 12"``.
        source: The sentence; may be empty.
        target: Its translation; may be empty.
    """

    place: str
    source: str
    target: str


def read_plain(source: Path, target: Path) -> Iterator[TextPair]:
    """Yield the lines of two files that belong together line by line, compressed or not.

    Raises:
        CorpusError: One has more lines than the other (found at the end), a line is not UTF-8, or
            the compression is damaged.
    """
    with _open(source) as source_file, _open(target) as target_file:
        yield from _in_step(str(source), source_file, str(target), target_file)


def read_moses_zip(path: Path, source_member: str, target_member: str) -> Iterator[TextPair]:
    """Yield the lines of two members of a zip file, without unpacking it.

    Raises:
        CorpusError: As ``read_plain``.
    """
    with ExitStack() as stack:
        archive = stack.enter_context(closing(_open_zip(path)))
        try:
            files = [
                stack.enter_context(archive.open(name)) for name in (source_member, target_member)
            ]
        except (KeyError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
            raise CorpusError(
                f"{path} must contain {source_member} and {target_member}, but they cannot be read "
                f"({error}): download it again"
            ) from error
        places = [f"{path}, {name}" for name in (source_member, target_member)]
        yield from _in_step(places[0], files[0], places[1], files[1])


def zip_members(path: Path) -> list[str]:
    """Return the names of a zip file's members.

    Raises:
        CorpusError: It is not a zip file, or truncated.
    """
    with closing(_open_zip(path)) as archive:
        return archive.namelist()


def read_tab(path: Path, *, swapped: bool = False) -> Iterator[TextPair]:
    """Yield the first two cells of every line; the others say where a sentence comes from.

    A line of one cell has an empty target. News Commentary's empty lines (ends of documents) are
    yielded as they are.

    Args:
        path: The file, compressed or not.
        swapped: Whether the second cell is the source.

    Raises:
        CorpusError: A line is not UTF-8, or the compression is damaged.
    """
    with _open(path) as file:
        for number, line in enumerate(decoded_lines(file, str(path)), start=1):
            first, _, rest = line.partition("\t")
            second = rest.partition("\t")[0]
            source, target = (second, first) if swapped else (first, second)
            yield TextPair(f"line {number}", source, target)


def read_tmx(path: Path, source_language: str, target_language: str) -> Iterator[TextPair]:
    """Yield the units of a translation memory; a language that a unit lacks gives an empty text.

    ``en-GB``, ``en_US`` and ``EN`` are ``en``. The first of several variants is taken.

    Raises:
        CorpusError: The file is not XML, truncated or damaged.
    """
    for number, unit in enumerate(_elements(path, "tu"), start=1):
        texts: dict[str, str] = {}
        for variant in _children(unit, "tuv"):
            language = variant.get(_XML_LANGUAGE) or variant.get("lang") or ""
            for wanted in (source_language, target_language):
                segment = next(_children(variant, "seg"), None)
                if wanted not in texts and segment is not None and _is_language(language, wanted):
                    texts[wanted] = _one_line("".join(_text_parts(segment)))
        yield TextPair(
            f"unit {number}", texts.get(source_language, ""), texts.get(target_language, "")
        )


def read_sgm(source: Path, target: Path) -> Iterator[TextPair]:
    """Yield the segments of a source file with those of a reference file, by document and id.

    Where a document is there several times (several references), its first text is taken. ``&amp;``
    and other entities become their characters; an ampersand alone stays.

    Raises:
        CorpusError: The reference lacks a segment of the source, a segment is not closed or has no
            id, or there is no segment.
    """
    references = dict(_sgm_segments(target))
    for key, text in _sgm_segments(source):
        document, segment, _ = key
        if key not in references:
            raise CorpusError(
                f"{target} must have all segments of {source}, but lacks segment '{segment}' of "
                f"document '{document}': the files do not belong together, or one is damaged"
            )
        yield TextPair(f"document {document}, segment {segment}", text, references[key])


def read_wmt_xml(path: Path, target_language: str) -> Iterator[TextPair]:
    """Yield the segments of a test set as WMT hands them out since 2021.

    Where there are several references, a segment has the first that is not empty; where there is
    none (test suites), its target is empty.

    Raises:
        CorpusError: The file is not XML, truncated or damaged, or a segment has no id.
    """
    for document in _elements(path, "doc"):
        name = document.get("id", "")
        references: dict[str, str] = {}
        for reference in _children(document, "ref"):
            if _is_language(reference.get("lang") or target_language, target_language):
                for id_, text in _xml_segments(reference, path, name):
                    if not references.get(id_):
                        references[id_] = text
        for source in _children(document, "src"):
            for id_, text in _xml_segments(source, path, name):
                yield TextPair(f"document {name}, segment {id_}", text, references.get(id_, ""))


@contextmanager
def _open(path: Path) -> Iterator[IO[bytes]]:
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
        yield file  # type: ignore[misc]


def _open_zip(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise CorpusError(
            f"{path} must be a zip file, but is truncated or damaged ({error}): download it again"
        ) from error


def _in_step(
    source_place: str, source: IO[bytes], target_place: str, target: IO[bytes]
) -> Iterator[TextPair]:
    pairs = zip_longest(decoded_lines(source, source_place), decoded_lines(target, target_place))
    for number, (source_line, target_line) in enumerate(pairs, start=1):
        if source_line is None or target_line is None:
            places = (source_place, target_place)
            short, long = places if source_line is None else reversed(places)
            raise CorpusError(
                f"{short} must have as many lines as {long}, but ends before line {number}: the "
                "files do not belong together, or one is truncated"
            )
        yield TextPair(f"line {number}", source_line, target_line)


def _elements(path: Path, tag: str) -> Iterator[Element]:
    """Yield the elements of one name, and forget each afterwards."""
    parents: list[Element] = []
    try:
        with _open(path) as file:
            for event, element in ElementTree.iterparse(file, events=("start", "end")):
                if event == "start":
                    parents.append(element)
                    continue
                parents.pop()
                if _local_name(element) == tag:
                    yield element
                    if parents:
                        parents[-1].clear()  # the element alone would leave its empty shell
    except ElementTree.ParseError as error:
        raise CorpusError(
            f"{path}, line {error.position[0]}: must be XML, but is not ({error}): the file is "
            "truncated or damaged; download it again, or take the corpus in another format"
        ) from error
    except (EOFError, OSError, zlib.error) as error:
        raise CorpusError(
            f"{path}: the file is truncated or damaged ({error}): download it again"
        ) from error


def _local_name(element: Element) -> str:
    return element.tag.rpartition("}")[2]


def _children(element: Element, tag: str) -> Iterator[Element]:
    return (child for child in element if _local_name(child) == tag)


def _is_language(code: str, wanted: str) -> bool:
    code, wanted = code.lower().replace("_", "-"), wanted.lower().replace("_", "-")
    return code == wanted or code.partition("-")[0] == wanted


def _text_parts(element: Element) -> Iterator[str]:
    yield element.text or ""
    for child in element:
        if _local_name(child) not in _TMX_CODES:
            yield from _text_parts(child)
        yield child.tail or ""


def _one_line(text: str) -> str:
    return _LINE_BREAK.sub(" ", text.strip())


def _xml_segments(side: Element, path: Path, document: str) -> Iterator[tuple[str, str]]:
    for element in side.iter():
        if _local_name(element) == "seg":
            id_ = element.get("id")
            if id_ is None:
                raise CorpusError(
                    f"{path}: every segment must have an id, but one of document '{document}' has "
                    "none"
                )
            yield id_, _one_line("".join(element.itertext()))


def _sgm_segments(path: Path) -> Iterator[tuple[tuple[str, str, int], str]]:
    """Yield (document, segment, how often that was there before) and the text."""
    with _open(path) as file:
        content = "\n".join(decoded_lines(file, str(path)))
    seen: Counter[tuple[str, str]] = Counter()
    document = ""
    tags = _SGM_TAG.finditer(content)
    for tag in tags:
        closes, name, attributes = tag[1], tag[2].lower(), tag[3]
        if name == "doc":
            document = "" if closes else _attribute(attributes, "docid") or ""
            continue
        id_ = None if closes else _attribute(attributes, "id")
        end = next(tags, None)
        if id_ is None or end is None or (end[1], end[2].lower()) != ("/", "seg"):
            line = content.count("\n", 0, tag.start()) + 1
            raise CorpusError(
                f'{path}, line {line}: a segment must be <seg id="...">...</seg>, but this one of '
                f"document '{document}' has no id or no end: the file is damaged"
            )
        text = _ENTITY.sub(
            lambda entity: html.unescape(entity[0]), content[tag.end() : end.start()]
        )
        yield (document, id_, seen[document, id_]), _one_line(text)
        seen[document, id_] += 1
    if not seen:
        raise CorpusError(f'{path} must contain segments (<seg id="1">), but has none')


def _attribute(attributes: str, name: str) -> str | None:
    match = re.search(
        rf"(?<![\w-]){name}\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([^\s>]+))", attributes, re.I
    )
    return None if match is None else next(group for group in match.groups() if group is not None)
