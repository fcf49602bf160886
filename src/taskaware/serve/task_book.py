"""The tasks that clients can name: the model's, those made from examples, and mixtures of them.

Shape legend: O size of a task embedding.
"""

from __future__ import annotations

import errno
import re
import tempfile
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from taskaware.errors import CheckpointError, OutputError, WriteError, unknown_task
from taskaware.files import atomic_file, remove_left
from taskaware.inference.task_choice import known_language, only_task
from taskaware.serve.failures import ServiceError, busy
from taskaware.settings import typed
from taskaware.training.tensors import load_tensors, read_metadata, write_tensors
from taskaware.types import Task

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from torch import Tensor

    from taskaware.inference.model import TaskAwareModel

NAME_PATTERN = "^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"
_NAME = re.compile(NAME_PATTERN.strip("^$"))
_MODEL = "model_sha256"
_TASK_FIELDS = ("kind", "source_modality", "source_language", "target_language")
_EMBEDDING = "task_embedding"


@dataclass(frozen=True, eq=False, kw_only=True)
class KnownTask:
    """A task that can be run.

    Attributes:
        task: What it takes and gives.
        embedding: float32 ``[1, O]``; ``None`` for a model without a task network.
        is_stored: Whether it was made from examples here.
    """

    task: Task
    embedding: Tensor | None
    is_stored: bool = False


class TaskBook:
    """All tasks by name. Several threads may use it.

    Args:
        model: The model.
        most: Tasks from examples that are kept.
        folder: Where they are kept, a file each; ``None``: only as long as the service runs.
        model_sha256: Tells this model's weights from those of others; needed with a folder.
        reserved: Further names that no task from examples may have.

    Raises:
        OutputError: The folder is none, or cannot be written.
        CheckpointError: The folder holds a file that is damaged or of another model.
    """

    def __init__(
        self,
        model: TaskAwareModel,
        *,
        most: int,
        folder: Path | None = None,
        model_sha256: str = "",
        reserved: Iterable[str] = (),
    ) -> None:
        self._folder = folder
        self._reserved = frozenset(reserved)
        self._most = most
        self._sha256 = model_sha256
        self._lock = threading.Lock()
        self._coming: set[str] = set()  # names of tasks that are being written, in lower case
        self._known = {
            task.name: KnownTask(task=task, embedding=model.task_embeddings.get(task.name))
            for task in model.tasks
        }
        self._size = next((value.shape[1] for value in model.task_embeddings.values()), 0)
        if folder is not None:
            require_writable(folder)
            remove_left(folder, r".+\.safetensors")
            for path in sorted(folder.glob("*.safetensors")):
                self._load(path)

    def all(self) -> list[KnownTask]:
        """Return every task, the model's own first."""
        with self._lock:
            return list(self._known.values())

    def own(self) -> list[KnownTask]:
        """Return the tasks of the model itself."""
        return [known for known in self.all() if not known.is_stored]

    def find(self, name: str) -> KnownTask | None:
        """Return a task by its name, where there is one."""
        with self._lock:
            return self._known.get(name)

    def get(self, name: str) -> KnownTask:
        """Return a task by its name.

        Raises:
            UnknownTaskError: There is none.
        """
        found = self.find(name)
        if found is None:
            raise unknown_task(name, [known.task.name for known in self.all()])
        return found

    def transcription(self, language: str | None) -> KnownTask:
        """Return the task of speech recognition, of a language where there are several.

        Raises:
            UnknownTaskError: There is none, or there are several.
        """
        language = self._spoken(language)
        return self._only(
            lambda task: task.kind == "asr", "speech recognition", language, language, "language"
        )

    def translation(self, target_language: str, language: str | None) -> KnownTask:
        """Return the task that translates recordings into a language.

        Raises:
            UnknownTaskError: There is none, or there are several.
        """
        language = self._spoken(language)
        written = (one.task.target_language for one in self.own())
        target_language = known_language(target_language, written)
        return self._only(
            lambda task: task.target_language == target_language != task.source_language,
            "translation of speech",
            language,
            target_language,
            "target_language",
        )

    def _spoken(self, language: str | None) -> str | None:
        """Return the language of the model's recordings that a client means."""
        heard = (o.task.source_language for o in self.own() if o.task.modality.is_recording)
        return None if language is None else known_language(language, heard, drops_region=True)

    def _only(
        self,
        fits: Callable[[Task], bool],
        what: str,
        language: str | None,
        wanted: str | None,
        param: str,
    ) -> KnownTask:
        """Return the one task of the model that hears a language and fits."""
        found = [
            one.task
            for one in self.own()
            if one.task.modality.is_recording
            and language in (None, one.task.source_language)
            and fits(one.task)
        ]
        tasks = [one.task for one in self.all()]
        return self.get(only_task(tasks, found, what, wanted, param))

    def mixed(self, weights: Mapping[str, float]) -> KnownTask:
        """Return a task between others: its embedding is the weighted sum of theirs.

        Raises:
            UnknownTaskError: A task is not there.
            ServiceError: One has no embedding, or they take different kinds of source.
        """
        parts = [(self.get(name), weight) for name, weight in weights.items()]
        total = None
        for known, weight in parts:
            if known.embedding is None:
                raise ServiceError(
                    f"a mixture must be of tasks with embeddings, but '{known.task.name}' has "
                    "none: the model has no task network",
                    param="mix",
                )
            part = weight * known.embedding
            total = part if total is None else total + part
        if len({known.task.source_modality for known, _ in parts}) != 1:
            raise ServiceError("a mixture must be of tasks for one kind of source", param="mix")
        assert total is not None  # the schema asks for a part
        require_finite(total, "mix")
        name = " + ".join(f"{weight:.9g} {known.task.name}" for known, weight in parts)
        return KnownTask(task=replace(parts[0][0].task, name=name), embedding=total)

    def add(self, name: str, task: Task, embedding: Tensor) -> KnownTask:
        """Keep a task that was made from examples.

        Raises:
            ServiceError: The name is taken (409) or impossible, there are too many (429), the
                embedding is not finite (400), or it cannot be written (500).
        """
        self.require_free(name)
        require_finite(embedding, "examples")
        made = KnownTask(task=replace(task, name=name), embedding=embedding, is_stored=True)
        with self._lock:
            self._require_free(name)
            self._coming.add(name.lower())
        is_kept = False
        try:
            self._require_no_file(name)
            if self._folder is not None:  # without the lock, as a disk may be slow
                self._write(self._folder / f"{name}.safetensors", task, embedding)
            is_kept = True
        finally:
            with self._lock:
                self._coming.remove(name.lower())
                if is_kept:
                    self._known[name] = made
        return made

    def _write(self, path: Path, task: Task, embedding: Tensor) -> None:
        facts = {key: str(getattr(task, key)) for key in _TASK_FIELDS}
        try:
            with atomic_file(path) as partial:
                write_tensors(partial, {_EMBEDDING: embedding}, {**facts, _MODEL: self._sha256})
        except WriteError as error:  # which names a file of the server
            raise ServiceError(
                "the task could not be kept, since the service cannot write it; what it wrote to "
                "its standard error says why",
                status=500,
                code="not_kept",
            ) from error

    def require_free(self, name: str) -> None:
        """Check that a new task may have this name.

        Raises:
            ServiceError: See ``add``.
        """
        if not _NAME.fullmatch(name):
            raise ServiceError(
                "a task's name must be 1 to 64 letters, digits, _ and -, and begin with a letter "
                f"or digit, but is '{name[:100]}'",
                param="name",
            )
        with self._lock:
            self._require_free(name)
        self._require_no_file(name)

    def _require_free(self, name: str) -> None:
        if name in self._known or name in self._reserved or name.lower() in self._coming:
            raise _taken(name)
        there = sum(one.is_stored for one in self._known.values()) + len(self._coming)
        if there >= self._most:
            raise busy(f"at most {self._most} tasks are kept, and so many are there")

    def _require_no_file(self, name: str) -> None:
        # A file of the folder may have a name that differs in case alone, where that is the same.
        if self._folder and (self._folder / f"{name}.safetensors").exists():
            raise _taken(name)

    def _load(self, path: Path) -> None:
        facts, tensors = read_metadata(path), load_tensors(path)
        embedding = tensors.get(_EMBEDDING)
        if facts.get(_MODEL) != self._sha256:
            raise CheckpointError(
                f"{path} must be a task of this model, but was made with other weights: name "
                "another folder with --tasks-folder"
            )
        _require_embedding(embedding, self._size, path)
        fields = {key: facts.get(key, "") for key in _TASK_FIELDS}
        task = typed.from_mapping(Task, {"name": path.stem, **fields}, where=str(path))
        taken = path.stem in self._known or path.stem in self._reserved
        if taken or not _NAME.fullmatch(path.stem):
            raise CheckpointError(
                f"{path} must have a name that stands for nothing else in this service: rename it"
            )
        self._known[path.stem] = KnownTask(task=task, embedding=embedding, is_stored=True)


def require_writable(folder: Path) -> None:
    """Make a folder where it is missing, and check that files can be written in it.

    Raises:
        OutputError: It is none, or they cannot.
    """
    try:
        if folder.exists() and not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "it is no folder")
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OutputError(
            f"{folder} must be a folder that can be written, but: {error.strerror or error}; name "
            "another with --tasks-folder"
        ) from error


def require_finite(embedding: Tensor, param: str) -> None:
    """Check that a task embedding can be used.

    Raises:
        ServiceError: It is not finite.
    """
    if not _is_finite(embedding):
        raise ServiceError(
            "the task embedding must be finite, but is not: its "
            f"{'weights' if param == 'mix' else 'examples'} are too large or damaged",
            param=param,
        )


def _require_embedding(embedding: Tensor | None, size: int, path: Path) -> None:
    """Raise where a file holds no task embedding of a model."""
    if embedding is None:
        found = "none"
    elif tuple(embedding.shape) != (1, size) or embedding.dtype != torch.float32:
        found = f"one of {embedding.dtype} {list(embedding.shape)}"
    elif not _is_finite(embedding):
        found = "one with numbers that are not"
    else:
        return
    raise CheckpointError(
        f"{path} must hold a task embedding of finite numbers, torch.float32 [1, {size}], but "
        f"holds {found}: remove the file, and make the task again"
    )


def _is_finite(embedding: Tensor) -> bool:
    return bool(torch.isfinite(embedding).all())


def _taken(name: str) -> ServiceError:
    return ServiceError(
        f"'{name}' is the name of a task or of the model, and these are never written over: take "
        "another name",
        status=409,
        code="name_taken",
        param="name",
    )
