"""How a long recording is cut and decoded, and what follows from the model and the task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from taskaware.data.sound.segmentation import CutSettings, Way
from taskaware.data.sound.speech_detection import Detector  # noqa: TC001 -- read when checked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from taskaware.inference.model_folder import ModelParts
    from taskaware.types import Task

_SHAS_SECONDS = 18.0  # the greatest length of Tsiamas et al. 2022
_GREATEST_SECONDS = 28.0
_UNKNOWN_SECONDS = 40.0  # what `prepare` takes by default


@dataclass(frozen=True, kw_only=True)
class LongRecordingSettings:
    """How a long recording is cut and decoded.

    Attributes:
        segmentation: How it is cut: `pauses`, `divide` or `windows` (``data.sound.segmentation``);
            `auto`: `divide` for translation, else `pauses`.
        greatest_seconds: The longest stretch that is decoded at once; `none`: 18 s for `divide`,
            else 28 s, and in no case more than the model hears or was trained on.
        least_seconds: No cut makes a stretch that is shorter.
        overlap_seconds: How much two stretches share where speech is cut without a pause; of
            translations nothing, as their words cannot be told apart.
        detector: Who hears where somebody speaks: `silero`, `level`, or `auto`: the first if it is
            installed.
        words: Whether words get times; without them, nothing overlaps.
        guards: Whether what a model invents is looked for (``guards``).
    """

    segmentation: Literal["auto", "pauses", "divide", "windows"] = "auto"
    greatest_seconds: float | None = None
    least_seconds: float = 0.2
    overlap_seconds: float = 2.0
    detector: Detector = "auto"
    words: bool = True
    guards: bool = True

    def validate(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what it must be) for every impossible value."""
        greatest = self.greatest_seconds
        if greatest is not None and not 1.0 <= greatest <= 3600.0:
            yield "greatest_seconds", f"must be from 1 to 3,600, but is {greatest:g}"
        for name in ("least_seconds", "overlap_seconds"):
            if not 0.0 <= getattr(self, name) <= 30.0:
                yield name, f"must be from 0 to 30, but is {getattr(self, name):g}"


def hears_at_once(model: ModelParts, task: Task) -> float:
    """Return how long a recording a model can decode in one piece, in seconds.

    That is what its encoder takes and its features pad, if they are bounded, and about the longest
    recording that it was trained on; 40 s where nothing is known.
    """
    hop_seconds = model.feature_settings.hop_ms / 1000
    frames = model.settings.longest_recording_frames
    trained = model.longest_sources.get(task.name)
    limits = [
        frames * hop_seconds if frames else None,
        model.feature_settings.padded_seconds or None,
        max(trained * hop_seconds, 1.0) if trained else None,
    ]
    return min([limit for limit in limits if limit is not None], default=_UNKNOWN_SECONDS)


def cut_settings(model: ModelParts, task: Task, settings: LongRecordingSettings) -> CutSettings:
    """Return how a recording is cut for a model and a task."""
    is_translation = task.kind != "asr" and task.source_language != task.target_language
    way: Way = "divide" if is_translation else "pauses"
    if settings.segmentation != "auto":
        way = settings.segmentation
    greatest = settings.greatest_seconds
    if greatest is None:
        greatest = _SHAS_SECONDS if way == "divide" else _GREATEST_SECONDS
    greatest = min(greatest, hears_at_once(model, task))
    overlaps = settings.words and not is_translation
    return CutSettings(
        way=way,
        least_seconds=min(settings.least_seconds, greatest / 4),
        greatest_seconds=greatest,
        overlap_seconds=min(settings.overlap_seconds, greatest / 4) if overlaps else 0.0,
    )
