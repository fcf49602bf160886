"""Outputs of a frozen encoder in place of features: recordings encoded once, in batches.

Shape legend: S feature frames, R positions of the encoder, F feature bins, D width of the encoder.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from taskaware.data.prepare.extraction import Extracted
from taskaware.data.prepared.shards import npy_bytes
from taskaware.data.quality.checks import Finding
from taskaware.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from taskaware.data.manifest.line import ManifestLine
    from taskaware.data.prepare.settings import PrepareSettings
    from taskaware.data.prepared.encoder import EncoderRecord
    from taskaware.data.sound.settings import FeatureSettings

RECORDINGS_PER_CHUNK = 64  # of 30 s and a width of 1,280, 250 MB of outputs
_FRAMES_TOGETHER = 8 * 3_000  # eight recordings of 30 s


@dataclass(frozen=True, kw_only=True)
class SourceEncoder:
    """An encoder, and how it is called; ``inference.source_encoder`` makes one of a model.

    Attributes:
        record: What a prepared folder says of it.
        features: What it hears.
        encode: Turns features, float32 ``[S, F]`` each, into outputs, float32 ``[R, D]`` each.
    """

    record: EncoderRecord
    features: FeatureSettings
    encode: Callable[[Sequence[NDArray[np.float32]]], list[NDArray[np.float32]]]


def require_usable_encoder(encoder: SourceEncoder | None, settings: PrepareSettings) -> None:
    """Check that an encoder, if any, and what is to be prepared fit.

    Raises:
        UserError: Recordings are to be stored as well, or the encoder hears other features.
    """
    if encoder is None:
        return
    if settings.store == "audio":
        raise UserError(
            "`store` must be 'features' where an encoder's outputs are stored, but is 'audio': "
            "what is stored cannot be augmented"
        )
    if settings.features != encoder.features:
        raise UserError(
            f"the features must be those that the encoder of {encoder.record.model} hears "
            f"({encoder.features}), but are {settings.features}: leave `features` out"
        )


def chunks_of_recordings(lines: Iterable[ManifestLine]) -> Iterator[list[ManifestLine]]:
    """Yield lines of up to ``RECORDINGS_PER_CHUNK`` recordings together, none of them divided.

    Args:
        lines: Those of one recording one after the other.
    """
    chunk: list[ManifestLine] = []
    number = 0
    for line in lines:
        if not chunk or line.example.speech != chunk[-1].example.speech:
            number += 1
        if number > RECORDINGS_PER_CHUNK:
            yield chunk
            chunk, number = [], 1
        chunk.append(line)
    if chunk:
        yield chunk


def encode_recordings(
    found: Sequence[NDArray[np.float32] | Finding],
    encoder: SourceEncoder,
    *,
    column: str,
    on_encoded: Callable[[Sequence[int]], None],
) -> list[Extracted | Finding]:
    """Return recordings as a shard holds them: the encoder's outputs, float16 ``[R, D]``.

    Args:
        found: Features of each, float32 ``[S, F]``, or what is wrong with it.
        encoder: The encoder.
        column: Of the manifest, which gives a recording.
        on_encoded: Called after each batch, with its places in ``found``.
    """
    results: dict[int, Extracted | Finding] = {}
    good: dict[int, NDArray[np.float32]] = {}
    for place, rows in enumerate(found):
        if isinstance(rows, Finding):
            results[place] = rows
        else:
            good[place] = rows
    for places in _batches({place: len(rows) for place, rows in good.items()}):
        outputs = encoder.encode([good[place] for place in places])
        for place, output in zip(places, outputs, strict=True):
            results[place] = _stored(output, len(good[place]), column)
        on_encoded(places)
    return [results[place] for place in range(len(found))]


def _batches(lengths: dict[int, int]) -> Iterator[list[int]]:
    """Yield places of recordings of similar length, the shortest first."""
    batch: list[int] = []
    for place in sorted(lengths, key=lengths.__getitem__):
        if batch and (len(batch) + 1) * lengths[place] > _FRAMES_TOGETHER:
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch


def _stored(rows: NDArray[np.float32], num_frames: int, column: str) -> Extracted | Finding:
    with np.errstate(over="ignore"):
        halved = rows.astype(np.float16)
    if not np.isfinite(halved).all():
        largest = float(np.abs(rows).max())
        reason = f"the encoder's output must be finite and fit float16, but reaches {largest:g}"
        return Finding(field=column, reason=reason)
    return Extracted(
        data=npy_bytes(halved), suffix="npy", num_frames=num_frames, num_positions=len(rows)
    )
