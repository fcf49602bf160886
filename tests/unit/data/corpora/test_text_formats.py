"""Every format of parallel text as it is handed out, whole and damaged."""

from __future__ import annotations

import gzip
import tracemalloc
import zipfile
from itertools import islice
from typing import TYPE_CHECKING

import pytest

from taskaware.data.corpora import text_formats
from taskaware.errors import CorpusError

if TYPE_CHECKING:
    from pathlib import Path

_TMX_HEAD = (
    '<?xml version="1.0" encoding="UTF-8" ?>\n<!DOCTYPE tmx SYSTEM "tmx14.dtd">\n'
    '<tmx version="1.4"><header srclang="en" datatype="unknown"/><body>\n'
)
_TMX_FOOT = "</body></tmx>\n"
_SRC = """<srcset setid="newsdev2016" srclang="any">
<doc sysid="ref" docid="abc.1" genre="news" origlang="en">
<hl>
<seg id="1">R&D &amp; AT&T: 3 < 4</seg>
</hl>
<p>
<seg id="2"> Two
lines </seg>
</p>
</doc>
<DOC docid='def.2'><seg id=1>Other</seg></DOC>
</srcset>
"""
_REF = """<refset setid="newsdev2016" srclang="any" trglang="ro">
<doc docid="def.2" sysid="ref"><seg id="1">Altul</seg></doc>
<doc docid="abc.1" sysid="ref">
<seg id="2">Două rânduri</seg>
<seg id="1">Cercetare &lt;&#259;&gt;</seg>
</doc>
<doc docid="abc.1" sysid="ref2"><seg id="1">Alta</seg></doc>
</refset>
"""


def _write(path: Path, data: str | bytes) -> Path:
    data = data.encode() if isinstance(data, str) else data
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def _texts(pairs):
    return [(pair.source, pair.target) for pair in pairs]


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_plain_files_are_read_line_by_line_and_only_line_feeds_end_a_line(tmp_path, ending: str):
    source = _write(tmp_path / f"x.de-en.en{ending}", "\ufeff a  man \r\nb\u2028c\x85\rd\nlast")
    target = _write(tmp_path / f"x.de-en.de{ending}", "ein Mann\n\nletzte\n")
    assert list(text_formats.read_plain(source, target)) == [
        ("line 1", " a  man ", "ein Mann"),
        ("line 2", "b\u2028c\x85\rd", ""),
        ("line 3", "last", "letzte"),
    ]


@pytest.mark.parametrize(("lines", "short"), [(2, "s.en"), (4, "t.de")])
def test_plain_files_of_unequal_length_name_the_short_one_and_the_line(tmp_path, lines, short):
    source = _write(tmp_path / "s.en", "a\n" * lines)
    target = _write(tmp_path / "t.de", "b\n" * 3)
    with pytest.raises(CorpusError, match=rf"{short} must have as many lines .* before line "):
        list(text_formats.read_plain(source, target))


def test_a_line_that_is_not_utf8_is_named(tmp_path):
    source = _write(tmp_path / "s.en", b"a\nb\ncaf\xe9\n")
    with pytest.raises(CorpusError, match=r"s\.en, line 3: must be UTF-8"):
        list(text_formats.read_plain(source, _write(tmp_path / "t.de", "a\nb\nc\n")))


@pytest.mark.parametrize("damage", ["truncated", "overwritten", "not gzip"])
def test_damaged_compression_names_the_file_and_how_far_it_was_read(tmp_path, damage: str):
    data = bytearray(gzip.compress(bytes(range(32, 127)) * 500 + b"\n", compresslevel=1))
    match damage:
        case "truncated":
            del data[len(data) // 2 :]
        case "overwritten":
            data[20:60] = b"\xff" * 40
        case _:
            data[:2] = b"ab"
    path = tmp_path / "s.en.gz"
    path.write_bytes(data)
    with pytest.raises(CorpusError, match=r"s\.en\.gz, after line 0: .* truncated or damaged"):
        list(text_formats.read_plain(path, _write(tmp_path / "t.de", "a\n")))


def test_tab_separated_text_is_its_first_two_cells_in_the_order_of_its_languages(tmp_path):
    path = _write(tmp_path / "europarl-v10.de-en.tsv.gz", "ein\tone\tep-00-01\tmore\n\t\nzwei\n\n")
    pairs = list(text_formats.read_tab(path, swapped=True))
    assert [pair[1:] for pair in pairs] == [("one", "ein"), ("", ""), ("", "zwei"), ("", "")]
    assert pairs[2].place == "line 3"
    assert next(text_formats.read_tab(path)).source == "ein"


def test_a_moses_zip_is_read_without_unpacking(tmp_path):
    path = tmp_path / "de-en.txt.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("README", "x")
        archive.writestr("SETIMES.de-en.de", "ein\nzwei\n")
        archive.writestr("SETIMES.de-en.en", "one\ntwo\n")
    pairs = text_formats.read_moses_zip(path, "SETIMES.de-en.en", "SETIMES.de-en.de")
    assert _texts(pairs) == [("one", "ein"), ("two", "zwei")]
    assert [file.name for file in tmp_path.iterdir()] == ["de-en.txt.zip"]
    with pytest.raises(CorpusError, match=r"must contain X\.en"):
        list(text_formats.read_moses_zip(path, "X.en", "SETIMES.de-en.de"))


def test_a_damaged_member_of_a_zip_is_named(tmp_path):
    path = tmp_path / "de-en.txt.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("X.de-en.de", "ein\n" * 10)
        archive.writestr("X.de-en.en", "one\n" * 10)
    path.write_bytes(path.read_bytes().replace(b"one\none\none", b"one\ntwo\none", 1))
    with pytest.raises(CorpusError, match=r"de-en\.txt\.zip, X\.de-en\.en, after line \d+: .*CRC"):
        list(text_formats.read_moses_zip(path, "X.de-en.en", "X.de-en.de"))
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(CorpusError, match=r"de-en\.txt\.zip must be a zip file"):
        text_formats.zip_members(path)


@pytest.mark.parametrize("name", ["en-ro.tmx", "en-ro.tmx.gz"])
def test_a_translation_memory_gives_the_texts_of_two_languages_however_their_codes_are_written(
    tmp_path, name: str
):
    path = _write(
        tmp_path / name,
        _TMX_HEAD
        + '<tu tuid="9"><tuv xml:lang="EN-gb"><seg>A &amp; <hi>b</hi><bpt i="1">{\\b</bpt>\n c '
        '</seg></tuv><tuv lang="en_US"><seg>second</seg></tuv><tuv lang="ro"><seg>Ă</seg></tuv>'
        "</tu>\n"
        '<tu><tuv xml:lang="ro"><seg>doi</seg></tuv><tuv xml:lang="de"><seg>zwei</seg></tuv></tu>'
        + _TMX_FOOT,
    )
    assert list(text_formats.read_tmx(path, "en", "ro")) == [
        ("unit 1", "A & b c", "Ă"),
        ("unit 2", "", "doi"),
    ]


def test_a_damaged_translation_memory_names_the_line(tmp_path):
    unit = '<tu><tuv xml:lang="en"><seg>a</seg></tuv><tuv xml:lang="ro"><seg>b</seg></tuv></tu>\n'
    path = _write(tmp_path / "en-ro.tmx", _TMX_HEAD + unit + "<tu><tuv>\x02</tuv></tu>" + _TMX_FOOT)
    with pytest.raises(CorpusError, match=r"en-ro\.tmx, line 5: must be XML"):
        list(text_formats.read_tmx(path, "en", "ro"))
    whole = gzip.compress((_TMX_HEAD + unit * 50 + _TMX_FOOT).encode())
    path = tmp_path / "en-ro.tmx.gz"
    path.write_bytes(whole[:-20])
    with pytest.raises(CorpusError, match=r"en-ro\.tmx\.gz.*truncated or damaged"):
        list(text_formats.read_tmx(path, "en", "ro"))


def test_a_translation_memory_is_read_in_flat_memory(tmp_path):
    path = tmp_path / "en-ro.tmx"
    with path.open("w", encoding="utf-8") as file:
        file.write(_TMX_HEAD)
        for number in range(20_000):
            file.write(
                f'<tu><tuv xml:lang="en"><seg>sentence {number}</seg></tuv>'
                f'<tuv xml:lang="ro"><seg>fraza {number}</seg></tuv></tu>\n'
            )
        file.write(_TMX_FOOT)
    pairs = text_formats.read_tmx(path, "en", "ro")
    tracemalloc.start()
    try:
        for _ in islice(pairs, 2_000):
            pass
        early = tracemalloc.get_traced_memory()[0]
        assert sum(1 for _ in islice(pairs, 17_000)) == 17_000
        late = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
        pairs.close()
    assert late - early < 100_000  # an empty element for each unit would be over 1 MB


def test_sgm_segments_are_matched_by_document_and_id_and_not_by_order(tmp_path):
    source = _write(tmp_path / "newsdev2016-enro-src.en.sgm", _SRC)
    target = _write(tmp_path / "newsdev2016-enro-ref.ro.sgm", _REF)
    assert list(text_formats.read_sgm(source, target)) == [
        ("document abc.1, segment 1", "R&D & AT&T: 3 < 4", "Cercetare <ă>"),
        ("document abc.1, segment 2", "Two lines", "Două rânduri"),
        ("document def.2, segment 1", "Other", "Altul"),
    ]


def test_a_segment_that_the_reference_lacks_is_named(tmp_path):
    source = _write(tmp_path / "src.en.sgm", _SRC)
    target = _write(tmp_path / "ref.ro.sgm", _REF.replace('<seg id="2">Două rânduri</seg>', ""))
    with pytest.raises(
        CorpusError, match=r"ref\.ro\.sgm .* lacks segment '2' of document 'abc\.1'"
    ):
        list(text_formats.read_sgm(source, target))


@pytest.mark.parametrize("broken", ["Other</DOC>", "Other"])
def test_a_segment_that_does_not_end_is_named_with_its_line(tmp_path, broken: str):
    source = _write(tmp_path / "src.en.sgm", _SRC.partition("Other")[0] + broken)
    target = _write(tmp_path / "ref.ro.sgm", _REF)
    with pytest.raises(CorpusError, match=r"src\.en\.sgm, line 11: .* document 'def\.2'"):
        list(text_formats.read_sgm(source, target))


def test_an_sgm_file_without_segments_is_refused(tmp_path):
    source = _write(tmp_path / "src.en.sgm", "<html>404</html>")
    with pytest.raises(CorpusError, match=r"src\.en\.sgm must contain segments"):
        list(text_formats.read_sgm(source, source))


def test_wmt_xml_gives_a_segment_the_first_reference_that_it_has(tmp_path):
    path = _write(
        tmp_path / "newstest2021.en-de.xml",
        """<?xml version='1.0' encoding='utf-8'?>
<dataset id="newstest2021"><collection id="general"><doc origlang="en" id="abc">
<src lang="en"><p><seg id="1">One &amp; two</seg></p><p><seg id="2">Three</seg></p></src>
<ref lang="fr"><p><seg id="1">Un</seg></p></ref>
<ref lang="de" translator="A"><p><seg id="1">Eins und zwei</seg></p><p><seg id="2" /></p></ref>
<ref lang="de" translator="C"><p><seg id="1">Anders</seg><seg id="2">Drei</seg></p></ref>
<hyp system="X"><p><seg id="1">Falsch</seg></p></hyp></doc>
<doc origlang="en" id="suite" testsuite="x"><src lang="en"><p><seg id="1">Q</seg></p></src></doc>
</collection></dataset>""",
    )
    assert list(text_formats.read_wmt_xml(path, "de")) == [
        ("document abc, segment 1", "One & two", "Eins und zwei"),
        ("document abc, segment 2", "Three", "Drei"),
        ("document suite, segment 1", "Q", ""),
    ]


def test_a_damaged_wmt_xml_file_is_named(tmp_path):
    path = _write(
        tmp_path / "newstest2021.en-de.xml",
        '<dataset>\n<doc id="a"><src><seg>One</seg></src></doc>',
    )
    with pytest.raises(CorpusError, match=r"en-de\.xml: every segment must have an id.*'a'"):
        list(text_formats.read_wmt_xml(path, "de"))
    _write(path, '<dataset>\n<doc id="a"><src><seg id="1">One</seg></src></doc>')
    with pytest.raises(CorpusError, match=r"en-de\.xml, line 2: must be XML"):
        list(text_formats.read_wmt_xml(path, "de"))
