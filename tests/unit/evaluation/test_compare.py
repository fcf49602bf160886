"""Two evaluations side by side: what is compared, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from taskaware.cli.main import run
from taskaware.errors import DataError, UserError
from taskaware.evaluation.compare import differences, read_evaluation
from taskaware.evaluation.evaluate import ScoredOutput, TaskResult
from taskaware.evaluation.metrics import score_task
from taskaware.evaluation.results_folder import Evaluated, write
from taskaware.types import Task

if TYPE_CHECKING:
    from pathlib import Path

GERMAN = Task(
    name="mt_en_de", kind="mt", source_modality="text", source_language="en", target_language="de"
)
REFERENCES = [f"Das Haus Nummer {number} ist rot" for number in range(20)]
EVALUATED = Evaluated(
    which="model",
    data="data",
    data_fingerprint="00",
    split="test",
    beam=4,
    weights="float32",
    limit=None,
    tasks=None,
)


def evaluated(folder: Path, outputs: list[str], task: Task = GERMAN, first: int = 0) -> Path:
    scored = tuple(
        ScoredOutput(
            id=f"{first + i}", reference=r, text=t, score=0.0, confused=False, finished=True
        )
        for i, (r, t) in enumerate(zip(REFERENCES, outputs, strict=True))
    )
    result = TaskResult(
        task=task.name,
        scores=tuple(score_task(task, outputs, REFERENCES, "de")),
        confusion_rate=None,
        num_examples=len(outputs),
        seconds=1.0,
        outputs=scored,
        language="de",
    )
    folder.mkdir(parents=True)
    write(folder, EVALUATED, [result], {"model": "mine"})
    return folder


def worse(number: int) -> list[str]:
    return [f"Ein {text}" if i < number else text for i, text in enumerate(REFERENCES)]


def test_a_large_difference_is_significant_and_a_small_one_is_not(tmp_path: Path):
    right, bad, nearly = (
        read_evaluation(evaluated(tmp_path / str(number), worse(number))) for number in (0, 20, 1)
    )
    [large] = differences(bad, right)
    assert (large.task, large.metric, large.num_examples) == ("mt_en_de", "bleu", 20)
    assert large.other == pytest.approx(100.0)
    assert large.baseline < 90
    assert large.p_value < 0.01
    [small] = differences(nearly, right)
    assert small.p_value > 0.05
    assert differences(right, right)[0].p_value == 1.0


def test_what_cannot_be_paired_is_refused(tmp_path: Path):
    mine = read_evaluation(evaluated(tmp_path / "mine", worse(1)))
    others = read_evaluation(evaluated(tmp_path / "others", worse(1), first=1))
    with pytest.raises(UserError, match="of the same examples, but are of others in mt_en_de"):
        differences(mine, others)
    with pytest.raises(UserError, match="must have the task st_en_de, but have mt_en_de in common"):
        differences(mine, mine, ["st_en_de"])
    with pytest.raises(UserError, match="must have a task, but have none in common"):
        differences(mine, {})
    changed = {"mt_en_de": replace(mine["mt_en_de"], signature="tok:char")}
    with pytest.raises(UserError, match="must be scored in one way"):
        differences(mine, changed)


@pytest.mark.parametrize("name", ["results.json", "outputs.jsonl"])
def test_a_folder_without_results_says_what_to_give(name: str, tmp_path: Path, capfd):
    folder = evaluated(tmp_path / "mine", worse(1))
    (folder / name).unlink()
    assert run(["compare", str(folder), str(folder)]) == 2
    assert f"but has no {name}: give the one" in " ".join(capfd.readouterr().err.split())


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("outputs.jsonl", "{"),
        ("outputs.jsonl", "[]\n"),
        ("outputs.jsonl", ""),
        ("outputs.jsonl", json.dumps({"task": "mt_en_de", "id": 1, "reference": "", "text": ""})),
        ("results.json", "[" * 100_000),
        ("results.json", json.dumps({"results": [{"task": "mt_en_de", "scores": []}]})),
        ("results.json", json.dumps({"results": [{"task": "mt_en_de", "scores": [{}]}]})),
    ],
    ids=range(7),
)
def test_damaged_results_are_named(name: str, content: str, tmp_path: Path):
    folder = evaluated(tmp_path / "mine", worse(1))
    (folder / name).write_text(content)
    with pytest.raises(DataError, match="files are damaged or do not belong together"):
        read_evaluation(folder)


def test_the_command_prints_a_line_a_task(tmp_path: Path, capfd: Any):
    bad, right = (str(evaluated(tmp_path / str(number), worse(number))) for number in (20, 0))
    assert run(["compare", bad, right]) == 0
    printed = capfd.readouterr().out
    [line] = [line for line in printed.splitlines() if line.startswith("mt_en_de")]
    assert line.split()[1] == "bleu"
    assert line.split()[3] == "100.0"
    assert float(line.split()[5]) < 0.01
    assert "tok:13a" in printed
