"""Examples as lines of a manifest: the way back from ``iterate_manifest``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskaware.files import to_json

if TYPE_CHECKING:
    from taskaware.types import Example, Task


def to_line(example: Example, task: Task) -> str:
    """Return an example as one line of a JSON-lines manifest, with its line feed.

    ``iterate_manifest`` reads it back as an equal task and example, wherever the manifest lies:
    recordings and features are named by absolute path. Rows of prepared features are not written.

    Args:
        example: What the line describes.
        task: The task that ``example.task`` names.
    """
    speech = example.speech
    path = example.features_path if speech is None else speech.path
    record: dict[str, object] = {
        "id": example.id,
        "task": task.name,
        "kind": task.kind,
        "dataset": example.dataset,
        task.modality.column: example.source_text if path is None else str(path.absolute()),
        "start_seconds": None if speech is None else speech.start_seconds or None,
        "duration_seconds": None if speech is None else speech.duration_seconds,
        "channel": None if speech is None else speech.channel,
        "target_text": example.target_text,
        "source_language": task.source_language,
        "target_language": task.target_language,
        "speaker": example.speaker,
        "utterance": example.utterance,
        "origin": example.origin,
    }
    kept = {name: value for name, value in record.items() if value is not None and value != ""}
    return to_json(kept).decode() + "\n"
