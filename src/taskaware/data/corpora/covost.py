r"""CoVoST 2 (Wang et al., 2020): Common Voice read aloud, translated from and into English.

https://github.com/facebookresearch/covost, on the clips of Common Voice 4::

    covost_v2.XX_YY.{train,dev,test}.tsv    path, sentence, translation, client_id
    covost_v2.XX_YY.tsv                     path, translation, split
    validated.tsv                           Common Voice's path, sentence, client_id
    clips/*.mp3

The three tables of the first line are what CoVoST's ``get_covost_splits.py`` makes of the two
others. They are read where they are; else the others are, of which one pair's translations are held
in memory (at most 0.32 million sentences, about 100 MB). All lie together, or ``clips`` and
``validated.tsv`` in a folder named by the language, or the tables in one; the folder is any above.
``train`` and ``train_covost`` of the column split are train; other additions to a split belong to
the first CoVoST and are left out, as that script does.

CoVoST's tables escape: ``\"`` is ``"``. Languages keep the corpus's codes (``sv-SE``, ``zh-CN``).
Pairs out of English share their clips, so that recognition comes with the first pair of each source
language alone. ``Request.languages`` are the languages translated into.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from taskaware.data.corpora.files import read_table, require_folder, visible
from taskaware.data.corpora.languages import wanted_languages
from taskaware.data.corpora.rows import ASR, MT, ST, Found, LeftOut, Request, Row
from taskaware.errors import CorpusError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_TABLE = re.compile(r"covost_v2\.([A-Za-z-]+)_([A-Za-z-]+?)(?:\.(train|dev|test))?\.tsv(?:\.gz)?")
_SPLITS = {"train": "train", "train_covost": "train", "dev": "dev", "test": "test"}
_ESCAPED = re.compile(r"\\(.)")
_CELLS = "another number of cells than the header"

# Split, place, and the cells path, sentence, translation, client_id of a clip.
_Clip = tuple[str, str, dict[str, str]]


def read(request: Request) -> Iterator[Found]:
    """Yield the corpus's rows: pair by pair, the kinds of a clip together.

    Raises:
        CorpusError: The folder has no table of CoVoST, or not what belongs to it.
    """
    folder = require_folder(request.folder, "the folder of CoVoST's tables")
    pairs = _find_pairs(folder)
    wanted = wanted_languages(request, {target for _, target in pairs})
    recognised: set[str] = set()
    for (source, target), tables in sorted(pairs.items()):
        if target not in wanted:
            continue
        kinds = set(request.kinds) - ({ASR} if source in recognised else set())
        recognised.add(source)
        if not kinds:
            continue
        clips = _find(tables, source, "clips")
        split_tables = {split: path for split, path in tables.items() if split}
        found = (
            _read_splits(split_tables)
            if split_tables
            else _join(tables[""], _find(tables, source, "validated.tsv"))
        )
        for item in found:
            if isinstance(item, LeftOut):
                yield item
            else:
                yield from _rows(item, clips, source, target, kinds)


def _find_pairs(folder: Path) -> dict[tuple[str, str], dict[str, Path]]:
    """Return the tables by languages and split; the split of a whole one is empty."""
    pairs: dict[tuple[str, str], dict[str, Path]] = {}
    packed = None
    for path in visible([*folder.glob("covost_v2.*"), *folder.glob("*/covost_v2.*")]):
        match = _TABLE.fullmatch(path.name)
        if match:
            pairs.setdefault((match[1], match[2]), {})[match[3] or ""] = path
        elif path.name.endswith(".tar.gz"):
            packed = path
    if not pairs:
        raise CorpusError(
            f"{folder} must contain tables such as covost_v2.en_de.tsv or "
            "covost_v2.en_de.train.tsv, "
            + (
                f"but has only {packed.name}: unpack it with tar -xzf {packed}"
                if packed
                else "but does not: download them and give their folder"
            )
        )
    return pairs


def _find(tables: dict[str, Path], source: str, name: str) -> Path:
    """Return what belongs to a pair's tables: beside them, above, or in the language's folder."""
    beside = next(iter(tables.values())).parent
    for place in (beside / source, beside, beside.parent / source, beside.parent):
        for candidate in (place / name, place / f"{name}.gz"):
            if candidate.exists():
                return candidate
    raise CorpusError(
        f"{beside} must contain Common Voice's {name} (here or in {source}/{name}), but does not: "
        "put "
        f"Common Voice 4 ({source}) there, or a link to it"
    )


def _read_splits(tables: dict[str, Path]) -> Iterator[_Clip | LeftOut]:
    for split in ("train", "dev", "test"):
        if split not in tables:
            continue
        columns = ("path", "sentence", "translation", "client_id")
        for number, cells in read_table(tables[split], columns):
            place = f"{tables[split]}, line {number}"
            if cells is None:
                yield LeftOut(split=split, place=place, reason=_CELLS)
                continue
            for name in ("sentence", "translation"):
                cells[name] = _ESCAPED.sub(r"\1", cells[name])
            yield split, place, cells


def _join(table: Path, validated: Path) -> Iterator[_Clip | LeftOut]:
    """Join a pair's translations with Common Voice's sentences, in the order of the latter."""
    translations: dict[str, tuple[str, str, int]] = {}
    for number, cells in read_table(table, ("path", "translation", "split")):
        place = f"{table}, line {number}"
        if cells is None:
            yield LeftOut(split="train", place=place, reason=_CELLS)
        elif cells["split"] not in _SPLITS:
            reason = f"the split '{cells['split']}' is not one of CoVoST 2"
            yield LeftOut(split=cells["split"] or "train", place=place, reason=reason)
        else:
            text = _ESCAPED.sub(r"\1", cells["translation"])
            translations[cells["path"]] = (_SPLITS[cells["split"]], text, number)
    for _, cells in read_table(validated, ("path", "sentence", "client_id")):
        found = translations.pop(cells["path"], None) if cells else None
        if cells and found:
            split, cells["translation"], number = found
            yield split, f"{table}, line {number}", cells
    for split, _, number in translations.values():
        reason = "a clip that Common Voice's table does not have"
        yield LeftOut(split=split, place=f"{table}, line {number}", reason=reason)


def _rows(clip: _Clip, clips: Path, source: str, target: str, kinds: set[str]) -> Iterator[Found]:
    split, place, cells = clip
    sentence, translation = cells["sentence"].strip(), cells["translation"].strip()
    name = cells["path"].strip().removesuffix(".mp3")
    problems = {
        "no recording": (ASR, ST) if not name else (),
        "no transcript": (ASR, MT) if not sentence else (),
        "no translation": (ST, MT) if not translation else (),
    }
    for reason, without in problems.items():
        if kinds & set(without):
            yield LeftOut(split=split, place=place, reason=reason)
            kinds = kinds - set(without)
    for kind in (ASR, ST, MT):
        if kind not in kinds:
            continue
        is_speech = kind != MT
        yield Row(
            split=split,
            id=f"{name}-{kind}-{source if kind == ASR else target}",
            kind=kind,
            dataset="covost",
            source_language=source,
            target_language=source if kind == ASR else target,
            target_text=sentence if kind == ASR else translation,
            source_text=None if is_speech else sentence,
            audio=clips / f"{name}.mp3" if is_speech else None,
            speaker=cells["client_id"],
            utterance=name,
        )
