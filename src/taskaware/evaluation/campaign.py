"""Scores as evaluation campaigns compute them, each with its signature: what ``metrics`` has not.

A long recording is translated in other segments than its reference has: ``resegmented`` gives the
words of the whole to the reference's segments first, as IWSLT does (Matusov et al. 2005,
https://aclanthology.org/2005.iwslt-1.19).
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from taskaware.data.writing_systems import separates_words, written_language
from taskaware.data.writing_systems import words as separate_words
from taskaware.errors import DataError, UserError, require_packages
from taskaware.evaluation.metrics import Score, count_edits

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from taskaware.evaluation.metrics import Metric

EXTRA = "campaign"


def resegmented(hypothesis: str, references: Sequence[str], language: str = "") -> list[str]:
    """Return the words of a hypothesis in as many segments as there are references (mweralign).

    The cut is that with the least word error rate; of languages that do not separate words, that
    with the least error rate of signs.

    Args:
        hypothesis: The whole text.
        references: The segments, in order.
        language: A tag of their language, as in ``Task``.

    Raises:
        MissingDependencyError: mweralign is not installed.
        DataError: There is no reference.
    """
    require_packages("resegmentation", EXTRA, "mweralign")
    if not references:
        raise DataError("there must be at least one reference to segment by")
    if not hypothesis.split():
        return ["" for _ in references]
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    from mweralign import align_texts

    root.handlers, root.level = handlers, level  # the package sets up logging for everybody

    separates = separates_words(written_language(language, references))
    wanted = [" ".join(unit for _, unit in _units(one, separates)) or "-" for one in references]
    units = _units(hypothesis, separates)
    found = align_texts("\n".join(wanted), " ".join(unit for _, unit in units)).split("\n")
    segments, place = [], 0
    for number in range(len(references)):
        is_last = number == len(references) - 1
        size = len(found[number].split()) if number < len(found) else 0
        end = len(units) if is_last else place + size
        segments.append("".join(f"{space}{unit}" for space, unit in units[place:end]).strip())
        place = end
    return segments


def _units(text: str, separates: bool) -> list[tuple[str, str]]:
    """Return the words of a text, or its signs, each with the space before it."""
    return [
        (" " if number == 0 else "", unit)
        for part in text.split()
        for number, unit in enumerate([part] if separates else separate_words(part))
    ]


def chrf_plus_plus(hypotheses: Sequence[str], references: Sequence[str]) -> Score:
    """Cased corpus chrF++, 0 to 100: chrF2 with n-grams of up to two words (Popović 2017).

    Raises:
        DataError: There is nothing to score.
    """
    from sacrebleu.metrics.chrf import CHRF

    return _of_sacrebleu("chrf++", CHRF(word_order=2), hypotheses, references)


def translation_edit_rate(hypotheses: Sequence[str], references: Sequence[str]) -> Score:
    """TER, in percent: edits and shifts over the words of the references (Snover et al. 2006).

    As sacreBLEU computes it, without case and with punctuation.

    Raises:
        DataError: There is nothing to score.
    """
    from sacrebleu.metrics.ter import TER

    return _of_sacrebleu("ter", TER(), hypotheses, references)


def whisper_word_error_rate(hypotheses: Sequence[str], references: Sequence[str]) -> Score:
    """Word error rate in percent after Whisper's English normaliser (Radford et al. 2022, app. C).

    It spells out contractions, writes numbers as digits, takes British for American spelling and
    leaves out fillers, so that figures compare with published ones, and with no other.

    Raises:
        MissingDependencyError: whisper-normalizer is not installed.
        DataError: There is nothing to score.
    """
    require_packages("Whisper's normaliser", EXTRA, "whisper_normalizer")
    from importlib.metadata import version

    from whisper_normalizer.english import EnglishTextNormalizer

    require_lines(hypotheses, references)
    normalise = EnglishTextNormalizer()
    edits = num_words = 0
    for hypothesis, reference in zip(hypotheses, references, strict=True):
        wanted = normalise(reference).split()
        edits += count_edits(wanted, normalise(hypothesis).split())
        num_words += len(wanted)
    return Score(
        metric="wer",
        value=100.0 * edits / max(num_words, 1),
        signature=f"norm:whisper-english|whisper-normalizer:{version('whisper-normalizer')}|"
        f"unit:percent|jiwer:{version('jiwer')}",
        num_examples=len(references),
        warning="" if num_words else "no reference has a word",
    )


def comet(
    sources: Sequence[str],
    hypotheses: Sequence[str],
    references: Sequence[str],
    *,
    model: Path | str,
    device: str = "cpu",
    batch_size: int = 8,
) -> Score:
    """COMET, most often 0 to 100 (best): what a trained model thinks (Rei et al. 2020).

    Args:
        sources: What was translated, as text.
        hypotheses: The outputs.
        references: What they should be.
        model: The checkpoint (``.ckpt``) of a COMET model on this machine, or the folder that it is
            in (``checkpoints/*.ckpt``). Nothing is downloaded. It is a pickle: take it from nobody
            whom you would not let run a program.
        device: ``"cpu"`` or ``"cuda"``.
        batch_size: Sentences together.

    Raises:
        MissingDependencyError: unbabel-comet is not installed.
        UserError: There is no such checkpoint, or not one of it.
        DataError: There is nothing to score.
    """
    require_packages("COMET", "comet", "comet")
    path = _checkpoint(Path(model))
    require_lines(hypotheses, references)
    require_lines(sources, references)
    from importlib.metadata import version

    import comet as library  # pyright: ignore[reportMissingImports]

    loaded: Any = library.load_from_checkpoint(str(path), local_files_only=True)
    rows = [
        {"src": source, "mt": hypothesis, "ref": reference}
        for source, hypothesis, reference in zip(sources, hypotheses, references, strict=True)
    ]
    found = loaded.predict(
        rows, batch_size=batch_size, gpus=int(device == "cuda"), progress_bar=False
    )
    return Score(
        metric="comet",
        value=100.0 * float(found.system_score),
        signature=f"model:{path.stem}|unit:percent|unbabel-comet:{version('unbabel-comet')}",
        num_examples=len(references),
    )


def _checkpoint(place: Path) -> Path:
    if place.is_file():
        return place
    found = sorted([*place.glob("*.ckpt"), *place.glob("checkpoints/*.ckpt")])
    if len(found) != 1:
        raise UserError(
            f"the COMET model must be a .ckpt file or a folder with one, but {place} "
            + (f"has {len(found)}" if place.is_dir() else "does not exist")
        )
    return found[0]


def _of_sacrebleu(
    name: Metric, metric: Any, hypotheses: Sequence[str], references: Sequence[str]
) -> Score:
    require_lines(hypotheses, references)
    value = metric.corpus_score(list(hypotheses), [list(references)]).score
    return Score(
        metric=name,
        value=value,
        signature=str(metric.get_signature()),
        num_examples=len(references),
    )


def require_lines(given: Sequence[str], references: Sequence[str]) -> None:
    """Require a line for each reference, and one at least.

    Raises:
        DataError: It is not so.
    """
    if not references:
        raise DataError("there must be at least one example to score")
    if len(given) != len(references):
        raise DataError(
            f"the lines must be as many as the references ({len(references):,}), but are "
            f"{len(given):,}: segments of a long recording are brought to those of the references "
            "with --resegment"
        )
