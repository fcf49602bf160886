"""Two evaluations of the same examples, and whether their scores differ by more than chance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

from taskaware.errors import DataError, UserError
from taskaware.evaluation.metrics import Metric
from taskaware.evaluation.results_folder import OUTPUTS_NAME, RESULTS_NAME
from taskaware.evaluation.significance import paired_by_id
from taskaware.files import parse_json, read_json_object

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class EvaluatedTask:
    """What an evaluation says of one task.

    Attributes:
        metric: The main one.
        score: Its value.
        signature: How it was computed.
        language: The code of the language of the references; empty in results of before.
        outputs: Reference and output by the example's id.
    """

    metric: Metric
    score: float
    signature: str
    language: str
    outputs: dict[str, tuple[str, str]]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Two models on one task.

    Attributes:
        task: Its name.
        metric: What is compared.
        signature: How it was computed.
        baseline: The score of the first model.
        other: That of the second.
        p_value: How likely chance alone makes a difference of this size (``paired_bootstrap``).
        num_examples: Examples that both wrote something for.
    """

    task: str
    metric: Metric
    signature: str
    baseline: float
    other: float
    p_value: float
    num_examples: int


def read_evaluation(folder: Path) -> dict[str, EvaluatedTask]:
    """Return what ``taskaware evaluate`` wrote, by task.

    Raises:
        UserError: The folder has no results.
        DataError: Its files are damaged or do not belong together.
    """
    for name in (RESULTS_NAME, OUTPUTS_NAME):
        if not (folder / name).is_file():
            raise UserError(
                f"{folder} must be a folder that `taskaware evaluate` wrote, but has no {name}: "
                "give the one that it names at its end, such as MODEL/evaluation/model/test"
            )
    try:
        outputs: dict[str, dict[str, tuple[str, str]]] = {}
        with (folder / OUTPUTS_NAME).open(encoding="utf-8") as lines:
            for line in lines:
                fields = parse_json(line)
                pair = (_text(fields["reference"]), _text(fields["text"]))
                outputs.setdefault(_text(fields["task"]), {})[_text(fields["id"])] = pair
        results = read_json_object(folder / RESULTS_NAME)["results"]
        return {
            _text(result["task"]): _evaluated(result, outputs[result["task"]]) for result in results
        }
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise DataError(
            f"{folder} must hold what `taskaware evaluate` wrote, but its files are damaged or do "
            f"not belong together ({type(error).__name__}: {error}): evaluate the model again"
        ) from error


def differences(
    baseline: dict[str, EvaluatedTask], other: dict[str, EvaluatedTask], tasks: Sequence[str] = ()
) -> list[Difference]:
    """Return how two models differ on the tasks that both were evaluated on.

    Args:
        baseline: The first model.
        other: The second one.
        tasks: Those to compare; empty: all that both have.

    Raises:
        UserError: There is no such task, or it was evaluated on other examples or by another
            metric.
    """
    shared = [task for task in baseline if task in other]
    missing = [task for task in tasks if task not in shared]
    if missing or not shared:
        wanted = f"the task {missing[0]}" if missing else "a task"
        raise UserError(
            f"both evaluations must have {wanted}, but have {', '.join(shared) or 'none'} in common"
        )
    return [_difference(task, baseline[task], other[task]) for task in tasks or shared]


def _difference(task: str, baseline: EvaluatedTask, other: EvaluatedTask) -> Difference:
    if (baseline.metric, baseline.signature) != (other.metric, other.signature):
        raise UserError(
            f"{task} must be scored in one way, but is in two: {baseline.signature} and "
            f"{other.signature}: evaluate both models with one version"
        )
    try:
        p_value = paired_by_id(baseline.metric, baseline.outputs, other.outputs, baseline.language)
    except ValueError as error:
        raise UserError(
            f"both evaluations must be of the same examples, but are of others in {task}: evaluate "
            "both models with the same --data, --split and --limit"
        ) from error
    return Difference(
        task=task,
        metric=baseline.metric,
        signature=baseline.signature,
        baseline=baseline.score,
        other=other.score,
        p_value=p_value,
        num_examples=len(baseline.outputs),
    )


def _evaluated(result: Any, outputs: dict[str, tuple[str, str]]) -> EvaluatedTask:
    main = result["scores"][0]
    if main["metric"] not in get_args(Metric) or not isinstance(main["value"], int | float):
        raise ValueError("no score")
    return EvaluatedTask(
        metric=main["metric"],
        score=float(main["value"]),
        signature=_text(main["signature"]),
        language=_text(result.get("language", "")),
        outputs=outputs,
    )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"a text is missing: {value!r:.40}")
    return value
