"""Whether one system's outputs are better than another's by more than chance."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from taskaware.evaluation.metrics import (
    count_edits,
    create_bleu,
    error_units,
    normalise_transcript,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sacrebleu.metrics.base import Metric as LibraryMetric

    from taskaware.evaluation.metrics import Metric

NUM_RESAMPLES = 1000


def paired_bootstrap(
    task_metric: Metric,
    references: Sequence[str],
    baseline_outputs: Sequence[str],
    outputs: Sequence[str],
    language: str = "",
) -> float:
    """How likely chance alone makes a difference of this size: p of paired bootstrap resampling.

    sacreBLEU's test, for error rates as for BLEU and chrF (Koehn 2004, "Statistical Significance
    Tests for Machine Translation Evaluation"): the test set is drawn again from its own sentences,
    1,000 times, the same draws for both systems, with sacreBLEU's own seed. Like its other test
    it asks whether the systems differ, whichever is better.

    Args:
        task_metric: What is compared; computed as ``evaluation.metrics`` does.
        references: What should have been written.
        baseline_outputs: What the system wrote that is compared with, in the same order.
        outputs: What the system in question wrote.
        language: The code of the references' language (``metrics.target_language``).

    Returns:
        The p-value, above 0 and at most 1; 1 where both score the same.
    """
    counts = {len(references), len(baseline_outputs), len(outputs)}
    if len(counts) != 1 or not references:
        raise ValueError(
            "references and both systems' outputs must have the same number, at least one, "
            f"but have {len(references)}, {len(baseline_outputs)} and {len(outputs)}"
        )
    from sacrebleu.significance import PairedTest

    metric = library_metric(task_metric, references, language)
    test = PairedTest(
        named_systems=[("baseline", list(baseline_outputs)), ("system", list(outputs))],
        metrics={task_metric: metric},
        references=[list(references)],
        test_type="bs",
        n_samples=NUM_RESAMPLES,
    )
    _, columns = test()
    results: list[Any] = next(column for name, column in columns.items() if name != "System")
    baseline, system = results
    # The library counts greater differences only, so a system would differ from itself.
    if baseline.score == system.score:
        return 1.0
    return float(system.p_value)


def paired_by_id(
    task_metric: Metric,
    baseline: Mapping[str, tuple[str, str]],
    other: Mapping[str, tuple[str, str]],
    language: str,
) -> float:
    """Do as ``paired_bootstrap`` for references and outputs by the example's id, of the same ids.

    Raises:
        ValueError: They are of other examples.
    """
    references = [reference for reference, _ in baseline.values()]
    if baseline.keys() != other.keys() or references != [other[i][0] for i in baseline]:
        raise ValueError("both systems must have the same examples with the same references")
    outputs = [text for _, text in baseline.values()]
    return paired_bootstrap(
        task_metric, references, outputs, [other[i][1] for i in baseline], language
    )


def library_metric(
    task_metric: Metric, references: Sequence[str], language: str = ""
) -> LibraryMetric:
    """The metric as sacreBLEU's tests take it, with the corpus score of ``evaluation.metrics``.

    Args:
        task_metric: The metric.
        references: All that it will be used on: BLEU is made to fit them.
        language: The code of their language (``metrics.target_language``).
    """
    match task_metric:
        case "bleu":
            return create_bleu(references, language)
        case "chrf":
            from sacrebleu.metrics.chrf import CHRF

            return CHRF()
        case "wer" | "cer":
            return _error_rate_class()(task_metric, language)
        case _:
            raise ValueError(f"`task_metric` must be that of a task, but is '{task_metric}'")


@functools.cache
def _error_rate_class() -> Callable[[Metric, str], LibraryMetric]:
    """A class made when it is first needed: its parent is in a library that is slow to load."""
    from sacrebleu.metrics.base import Metric as LibraryMetric
    from sacrebleu.metrics.base import Score

    class ErrorRate(LibraryMetric):
        """An error rate in percent; the statistics of a sentence are its edits and its units."""

        def __init__(self, metric: Metric, language: str) -> None:
            super().__init__()
            self._metric: Metric = metric
            self._language = language

        def _preprocess_segment(self, sent: str) -> str:
            return normalise_transcript(sent, self._language)

        def _extract_reference_info(self, refs: Sequence[str]) -> dict[str, Any]:
            (reference,) = refs
            return {"reference": reference}

        def _compute_segment_statistics(
            self, hypothesis: str, ref_kwargs: dict[str, Any]
        ) -> list[int]:
            wanted = error_units(self._metric, ref_kwargs["reference"])
            return [count_edits(wanted, error_units(self._metric, hypothesis)), len(wanted)]

        def _compute_score_from_stats(self, stats: Sequence[float]) -> Score:
            # Resampled statistics are summed as float32, exact below 2 ** 24 units.
            edits, num_units = int(stats[0]), int(stats[1])
            return Score(self._metric.upper(), 100.0 * edits / max(num_units, 1))

        def _aggregate_and_compute(self, stats: list[list[int]]) -> Score:
            return self._compute_score_from_stats(
                [sum(column) for column in zip(*stats, strict=True)]
            )

    return ErrorRate
