"""Cut sets of Lhotse (Żelasko et al., 2021), so that what its recipes prepare can be trained on.

https://lhotse.readthedocs.io/en/latest/cuts.html::

    *.jsonl, *.jsonl.gz     a cut a line; in the folder, or in folders in it

The folder may also be one such file. Files of recordings, of supervisions and of other things are
passed over: ``lhotse cut simple -r RECORDINGS -s SUPERVISIONS CUTS`` makes cuts of what ``lhotse
prepare`` writes. Whose name, or folder, has ``train``, ``dev``, ``valid`` or ``test`` in it as a
word goes to that split (valid to dev), the others to train. The dataset is named by the folder.

One example is one *supervision* of a ``MonoCut``: its text, language and speaker, and its segment
of the recording, which must lie in the cut. Languages are codes; the English names that Lhotse's
recipes write (``English``) become codes. Translations are where Lhotse's recipes (``iwslt22_ta``)
store them, in ``custom``, that of the supervision or of a cut that has one alone::

    {"translated_text": {"de": "Guten Tag"}}                 or "translation" for the same
    {"translation": "Guten Tag", "target_language": "de"}

Lhotse's recipes of MuST-C and GigaST store the translation as the text of the supervision, as if it
were what is said; use our recipe ``must_c`` instead.

Audio must be one file with one channel, as it is in the file: recordings in memory, in archives
(Shar), behind an address or a command, and those that are perturbed as they are read, are left out.
``CutSet.save_audios`` makes files of them. A relative path is relative to where you are, as Lhotse
has it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taskaware.data.corpora.files import read_lines, require_folder, visible
from taskaware.data.corpora.rows import ASR, MT, ST, Found, LeftOut, Request, Row
from taskaware.errors import CorpusError, MissingDependencyError
from taskaware.files import parse_json

if TYPE_CHECKING:
    from collections.abc import Iterator

_SPLIT = re.compile(r"(?<![a-z])(train|dev|valid|test)(?![a-z])")
_SPLITS = {"valid": "dev"}
_CODE = re.compile(r"[a-z]{2,3}([-_]\w+)*", re.IGNORECASE)
_CODES = {
    "arabic": "ar",
    "bengali": "bn",
    "chinese": "zh",
    "czech": "cs",
    "dutch": "nl",
    "english": "en",
    "french": "fr",
    "german": "de",
    "hebrew": "he",
    "hindi": "hi",
    "italian": "it",
    "japanese": "ja",
    "korean": "ko",
    "mandarin": "zh",
    "polish": "pl",
    "portuguese": "pt",
    "romanian": "ro",
    "russian": "ru",
    "spanish": "es",
    "swedish": "sv",
    "tibetan": "bo",
    "turkish": "tr",
}
_UNCHANGED = {"Resample"}  # transforms that leave what is heard, and when
_TOLERANCE_SECONDS = 0.01


def read(request: Request) -> Iterator[Found]:
    """Yield the rows of all cuts: file by file, the kinds of a supervision together.

    Raises:
        CorpusError: There is no file of cuts.
        MissingDependencyError: Lhotse is not installed, or not what it needs.
    """
    try:
        from lhotse.serialization import deserialize_item
    except ImportError as error:
        raise MissingDependencyError(
            f"Cut sets need Lhotse, which cannot be imported ({error}). Install it with: "
            "pip install 'taskaware[lhotse]'"
        ) from error
    folder = request.folder
    files = [folder] if folder.is_file() else _find_files(folder)
    files = [path for path in files if _holds_cuts(path)]
    if not files:
        raise CorpusError(
            f"{folder} must be a file of Lhotse's cuts (.jsonl, .jsonl.gz), or a folder of "
            "such files; recordings and supervisions become cuts by: lhotse cut simple -r "
            "RECORDINGS -s SUPERVISIONS CUTS"
        )
    dataset = (folder.parent if folder.is_file() else folder).absolute().name
    for path in files:
        split = _split(path, path.parent if folder.is_file() else folder)
        for number, line in enumerate(read_lines(path), start=1):
            place = f"{path}, line {number}"
            if not line.strip():
                continue
            try:
                cut = deserialize_item(parse_json(line))
            except (ValueError, KeyError, TypeError, AttributeError, AssertionError):
                yield LeftOut(split=split, place=place, reason="not a cut that Lhotse can read")
                continue
            yield from _read_cut(cut, place, split, dataset, request)


def _find_files(folder: Path) -> list[Path]:
    folder = require_folder(folder, "a file of Lhotse's cuts, or a folder with some")
    return [one for one in visible(folder.rglob("*")) if one.name.endswith((".jsonl", ".jsonl.gz"))]


def _holds_cuts(path: Path) -> bool:
    """Return whether a file's first line is a cut: Lhotse's other manifests have no type."""
    first = next((line for line in read_lines(path) if line.strip()), "")
    try:
        item = parse_json(first)
    except ValueError:
        return False
    return isinstance(item, dict) and str(item.get("type", "")).endswith("Cut")


def _split(path: Path, folder: Path) -> str:
    """Return the split that a file's name, or the nearest folder's, tells."""
    for name in reversed(path.relative_to(folder).parts):
        match = _SPLIT.search(name.lower())
        if match:
            return _SPLITS.get(match[1], match[1])
    return "train"


def _read_cut(cut: Any, place: str, split: str, dataset: str, request: Request) -> Iterator[Found]:
    problem = _audio_problem(cut)
    if not (problem or cut.supervisions):
        problem = "the cut has no supervision"
    if problem:
        yield LeftOut(split=split, place=place, reason=problem)
        return
    for supervision in cut.supervisions:
        language = _code(supervision.language)
        if not language:
            yield LeftOut(split=split, place=place, reason="no language code")
            continue
        if (
            supervision.start < -_TOLERANCE_SECONDS
            or supervision.end > cut.duration + _TOLERANCE_SECONDS
        ):
            reason = "the supervision reaches beyond its cut"
            yield LeftOut(split=split, place=place, reason=reason)
            continue
        custom = supervision.custom or (cut.custom if len(cut.supervisions) == 1 else None)
        name = cut.id if cut.id == supervision.id else f"{cut.id}-{supervision.id}"
        text = (supervision.text or "").strip()
        for kind, target, target_text in _tasks(language, text, _translations(custom), request):
            is_speech = kind != MT
            if not target_text or not (is_speech or text):
                reason = "no translation" if text and kind != ASR else "no transcript"
                yield LeftOut(split=split, place=place, reason=reason)
                continue
            yield Row(
                split=split,
                id=f"{name}-{kind}-{target}",
                kind=kind,
                dataset=dataset,
                source_language=language,
                target_language=target,
                target_text=target_text,
                source_text=None if is_speech else text,
                audio=Path(cut.recording.sources[0].source) if is_speech else None,
                start_seconds=max(0.0, round(cut.start + supervision.start, 6))
                if is_speech
                else 0.0,
                duration_seconds=round(supervision.duration, 6) if is_speech else None,
                speaker=supervision.speaker or "",
                utterance=name,
            )


def _tasks(
    language: str, text: str, translations: dict[str, str], request: Request
) -> Iterator[tuple[str, str, str]]:
    """Yield kind, target language and target text of everything that is wanted."""
    wanted = {
        target: translation
        for target, translation in translations.items()
        if not request.languages or target in request.languages
    }
    if ASR in request.kinds and (wanted or not request.languages or language in request.languages):
        yield ASR, language, text
    for kind in (ST, MT):
        for target, translation in wanted.items():
            if kind in request.kinds:
                yield kind, target, translation


def _audio_problem(cut: Any) -> str:
    """Return why a cut's speech is not a segment of one file as it is; empty: it is one."""
    if type(cut).__name__ != "MonoCut":
        return f"the cut is a {type(cut).__name__}, not a MonoCut"
    if not cut.has_recording:
        return "the cut has no recording"
    sources = cut.recording.sources
    if len(sources) != 1:
        return "the recording is of several files"
    if sources[0].type != "file":
        return f"the recording is of type '{sources[0].type}', not a file"
    if len(sources[0].channels) != 1:
        return "the cut is one channel of several"
    names = {
        transform["name"] if isinstance(transform, dict) else type(transform).__name__
        for transform in cut.recording.transforms or ()
    }
    if names - _UNCHANGED:
        return f"the recording is changed as it is read ({', '.join(sorted(names - _UNCHANGED))})"
    return ""


def _translations(custom: dict[str, Any] | None) -> dict[str, str]:
    """Return a supervision's translations by language code."""
    custom = custom or {}
    found = custom.get("translated_text", custom.get("translation"))
    if isinstance(found, str):
        found = {custom.get("target_language"): found}
    if not isinstance(found, dict):
        return {}
    return {code: str(text or "").strip() for name, text in found.items() if (code := _code(name))}


def _code(language: object) -> str:
    """Return a language's code; empty where it has neither a code nor a name that we know."""
    name = str(language or "").strip()
    return _CODES.get(name.lower(), name if _CODE.fullmatch(name) else "")
