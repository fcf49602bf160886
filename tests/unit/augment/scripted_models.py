"""Translation models whose outputs are written down, and the manifests that they translate."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

from taskaware.augment.settings import TranslationModelSettings
from taskaware.decoding.settings import DecodingSettings
from taskaware.errors import UnknownTaskError, nearest
from taskaware.types import Hypothesis, Task

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import pytest

MT_EN_DE = Task(
    name="mt_en_de", kind="mt", source_modality="text", source_language="en", target_language="de"
)


class ScriptedModel:
    """As much of a ``TaskAwareModel`` as translation uses; a text is as long as its characters.

    The script turns a text into outputs, best first; one that ends in an ellipsis has no end.
    """

    def __init__(self, script: Callable[[str], Sequence[str]], task: Task = MT_EN_DE) -> None:
        self.decoding = DecodingSettings()
        self.calls: list[list[str]] = []
        self._script = script
        self._task = task

    def task(self, name: str) -> Task:
        if name == self._task.name:
            return self._task
        raise UnknownTaskError(f"unknown{nearest(name, [self._task.name])}")

    def encode_source(self, source: str, modality: str) -> np.ndarray:
        assert modality == "text"
        return np.frombuffer(source.encode("utf-32-le"), dtype=np.int32).astype(np.int64)

    def decode(
        self, task: Task, sources: Sequence[np.ndarray], *, decoding: DecodingSettings
    ) -> list[list[Hypothesis]]:
        assert task == self._task
        texts = ["".join(map(chr, source)) for source in sources]
        self.calls.append(texts)
        return [
            [
                Hypothesis(
                    token_ids=(), text=output, log_prob=0.0, score=0.0,
                    finished=not output.endswith("…"),
                )
                for output in self._script(text)[: decoding.num_best]
            ]
            for text in texts
        ]  # fmt: skip


def install(
    monkeypatch: pytest.MonkeyPatch, folder: Path, models: dict[str, ScriptedModel]
) -> list[TranslationModelSettings]:
    """Let these models be loaded from folders of their names; return how to ask for them."""
    chosen = []
    for name in models:
        (folder / name).mkdir(parents=True, exist_ok=True)
        for file in (
            "model.safetensors",
            "model.json",
            "vocabulary.model",
            "task_embeddings.safetensors",
        ):
            (folder / name / file).write_text(f"{name} {file}")
        chosen.append(TranslationModelSettings(folder=folder / name))
    monkeypatch.setattr(
        "taskaware.augment.translate.load", lambda path, which, device: models[path.name]
    )
    return chosen


def numbered(prefix: str) -> Callable[[str], Sequence[str]]:
    """Return a script: ``"A1 text"``, ``"A2 text"``, ..."""
    return lambda text: [f"{prefix}{rank} {text}" for rank in range(1, 9)]


def write_lines(path: Path, *records: dict[str, object]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def read_lines(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def asr(id_: str, text: str, **fields: object) -> dict[str, object]:
    languages = {"source_language": "en", "target_language": "en"}
    record = {"id": id_, "task": "asr_en", "audio": f"{id_}.flac", "target_text": text}
    return record | languages | {"utterance": f"u-{id_}"} | fields


def st(id_: str, text: str, **fields: object) -> dict[str, object]:
    return asr(id_, text, task="st_en_de", target_language="de", **fields)


def mt(id_: str, source: str, target: str, **fields: object) -> dict[str, object]:
    return {
        "id": id_, "task": "mt_en_de", "source_text": source, "target_text": target,
        "source_language": "en", "target_language": "de",
    } | fields  # fmt: skip
