"""``taskaware score``: outputs in a file beside references in a file, as campaigns score them."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from taskaware.cli.display import say
from taskaware.errors import UserError
from taskaware.files import MOST_BYTES
from taskaware.pipes import read_given_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from taskaware.evaluation.metrics import Score

_STANDARD_ERROR = 2  # as libraries in other languages write to it, whatever `sys.stderr` is
MetricName = Literal["wer", "wer-whisper", "cer", "bleu", "chrf", "chrf++", "ter", "comet"]


def score(
    hypotheses: Path,
    references: Path,
    /,
    *,
    metric: Annotated[tuple[MetricName, ...], Parameter(negative=(), show_default=False)] = (),
    resegment: bool = False,
    language: str = "",
    sources: Path | None = None,
    comet_model: Path | None = None,
    device: Literal["cpu", "cuda"] = "cpu",
) -> int:
    """Score a file of outputs against a file of references, line by line, with signatures.

    Parameters
    ----------
    hypotheses
        Outputs, a line each; with `--resegment`, the text of a whole recording on any lines.
    references
        What they should be, a line each.
    metric
        What to compute (default: bleu, chrf++, ter); the option can be repeated. `wer-whisper`: the
        word error rate after Whisper's English normaliser.
    resegment
        Bring the outputs to the segments of the references first (mweralign, the extra
        `campaign`), as is done where recordings are cut by the system.
    language
        A tag of the language of the references, such as de or zh.
    sources
        What was translated, a line each: for `comet`.
    comet_model
        For `comet`: the checkpoint (.ckpt) of its model, or the folder with it. Nothing is
        downloaded.
    device
        Where `comet` computes.
    """
    from taskaware.evaluation import campaign, metrics

    wanted = metric or ("bleu", "chrf++", "ter")
    lines, right = _lines(hypotheses), _lines(references)
    if "comet" in wanted and (sources is None or comet_model is None):
        raise UserError("--metric comet needs --sources and --comet-model")
    if resegment:
        with _silenced():
            lines = campaign.resegmented(" ".join(lines), right, language)
    campaign.require_lines(lines, right)
    if not any(line.strip() for line in right):
        raise UserError(f"{references} must have a text to compare with, but every line is blank")

    def compute(name: MetricName) -> Score:
        match name:
            case "wer":
                return metrics.word_error_rate(lines, right, language)
            case "wer-whisper":
                return campaign.whisper_word_error_rate(lines, right)
            case "cer":
                return metrics.character_error_rate(lines, right, language)
            case "bleu":
                return metrics.bleu(lines, right, language)
            case "chrf":
                return metrics.chrf(lines, right)
            case "chrf++":
                return campaign.chrf_plus_plus(lines, right)
            case "ter":
                return campaign.translation_edit_rate(lines, right)
            case "comet":
                assert sources is not None
                assert comet_model is not None
                return campaign.comet(
                    _lines(sources), lines, right, model=comet_model, device=device
                )

    for name in dict.fromkeys(wanted):
        found = compute(name)
        signature = found.signature + ("|segments:mweralign" if resegment else "")
        say(f"{metrics.METRIC_NAMES[found.metric]} {found.value:.2f}  {signature}")
        if found.warning:
            say(f"  {found.warning}")
    return 0


@contextmanager
def _silenced() -> Iterator[None]:
    """Keep what a library in another language writes from standard error.

    mweralign says an error rate of its own there, by other rules than ours, which a reader would
    take for the score. This command has no other thread that could want to say something.
    """
    sys.stderr.flush()
    try:
        kept = os.dup(_STANDARD_ERROR)
    except OSError:  # the shell closed it (`2>&-`): nobody hears anything
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, _STANDARD_ERROR)
        yield
    finally:
        os.dup2(kept, _STANDARD_ERROR)
        os.close(kept)
        os.close(nowhere)


def _lines(path: Path) -> list[str]:
    """Return the lines of a UTF-8 text; only a line feed ends one."""
    text = read_given_text(path, most_bytes=MOST_BYTES)
    return text.removesuffix("\n").replace("\r\n", "\n").split("\n")
