"""How fast recordings become features, step by step, on one thread, as multiples of real time.

    python benchmarks/features.py                        # synthetic speech, half a minute
    python benchmarks/features.py --audio FOLDER         # FLAC files of your own
    python benchmarks/features.py --tiny --repetitions 2 # does it run?

Each step is timed by itself over all recordings, the steps in turn (A B C, A B C, ...); the last
rows are whole ways from files to features. Measured is processor time, which on one thread is what
the clock would say on an idle machine. The files come from the system's cache, not from a disk.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile
import soxr
import torch

from taskaware.data.prepare.extraction import extract_source
from taskaware.data.quality.checks import Finding
from taskaware.data.quality.settings import CheckSettings
from taskaware.data.sound import audio
from taskaware.data.sound.augmentation import Draw, augment, draws, echo, spec_augment, speed, tempo
from taskaware.data.sound.features import log_mel
from taskaware.data.sound.settings import AugmentationSettings, FeatureSettings
from taskaware.evaluation.machine import processor_name
from taskaware.types import Speech

if TYPE_CHECKING:
    from collections.abc import Callable

FEATURES = FeatureSettings()
RATE = FEATURES.sample_rate_hz
OTHER_RATE = 44_100
PAPER = AugmentationSettings(
    share=1.0,
    num_time_masks=2,
    max_time_mask_frames=40,
    num_frequency_masks=2,
    max_frequency_mask_bins=27,
)
PROMISE = 1000
WHOLE_WAY = "FLAC to log-Mel, as prepared"


@dataclass(frozen=True, kw_only=True)
class Recordings:
    """What every step works on, decoded once.

    Attributes:
        paths: The files.
        waveforms: float32 ``[N]`` at ``RATE``.
        other_waveforms: The same at ``OTHER_RATE``.
        features: float32 ``[S, F]``.
        drawn: What happens to each signal.
    """

    paths: list[Path]
    waveforms: list[np.ndarray]
    other_waveforms: list[np.ndarray]
    features: list[np.ndarray]
    drawn: list[Draw]


def main() -> None:
    """Print the machine, a table, whether the promise is kept, and one line of JSON."""
    options = _options()
    torch.set_num_threads(1)
    machine = {
        "machine": processor_name(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "soxr": soxr.__version__,
        "soundfile": soundfile.__version__,
        "threads": 1,
    }
    with tempfile.TemporaryDirectory() as folder:
        if options.audio is None:
            paths = write_synthetic(Path(folder), 3 if options.tiny else options.files)
            what = "synthetic speech"
        else:
            paths = sorted(options.audio.rglob("*.flac"))[: options.files]
            what = "FLAC files"
            if not paths:
                raise SystemExit(f"{options.audio} must hold files *.flac, but has none")
        recordings = load(paths)
        seconds = sum(len(waveform) for waveform in recordings.waveforms) / RATE
        rates = sorted({audio.info(path).sample_rate_hz for path in paths})
        print("\n".join(f"{name}: {value}" for name, value in machine.items()))
        print(f"{what}: {len(paths)} files, {seconds:.0f} s, at {rates} Hz\n")
        times = in_turn(steps(recordings), repetitions=options.repetitions, warm_up=options.warm_up)
    print("| step | times real time | quartiles | seconds for an hour |\n|---|---:|---:|---:|")
    multiples: dict[str, float] = {}
    for name, taken in times.items():
        slow, multiples[name], fast = np.percentile(
            [seconds / each for each in taken], (25, 50, 75)
        )
        print(
            f"| {name} | {multiples[name]:,.0f} | {slow:,.0f} to {fast:,.0f} "
            f"| {3600 / multiples[name]:,.2f} |"
        )
    kept = "kept" if multiples[WHOLE_WAY] >= PROMISE else "NOT kept"
    print(f"\n{WHOLE_WAY}: at least {PROMISE:,} times real time on one core: {kept}\n")
    print(
        json.dumps(
            {"machine": machine, "seconds": seconds, "files": len(paths), "multiples": multiples}
            | {"settings": asdict(PAPER)}
        )
    )


def steps(recordings: Recordings) -> dict[str, Callable[[], None]]:
    """Return each step by name; run, it goes over all recordings once."""
    random = np.random.default_rng(0)
    tensors = [torch.from_numpy(waveform) for waveform in recordings.waveforms]
    checks = CheckSettings()

    def prepare(path: Path) -> None:
        found = extract_source(
            Speech(path=path),
            column="audio",
            features=FEATURES,
            checks=checks,
            num_columns=None,
            keep_audio=False,
        )
        if isinstance(found, Finding):
            raise SystemExit(f"{path}: {found.reason}")

    def way(path: Path, drawn: Draw) -> np.ndarray:
        waveform = augment(audio.read(path, sample_rate_hz=RATE), drawn, RATE)
        rows = log_mel(torch.from_numpy(waveform), FEATURES).numpy()
        return spec_augment(rows, PAPER, random)

    def over(work: Callable[..., object], *arguments: list) -> Callable[[], None]:
        def run() -> None:
            for each in zip(*arguments, strict=True):
                work(*each)

        return run

    waveforms, drawn, paths = recordings.waveforms, recordings.drawn, recordings.paths
    return {
        "decode FLAC": over(lambda path: soundfile.read(path, dtype="float32"), paths),
        "resample, 44.1 to 16 kHz": over(
            lambda other: soxr.resample(other, OTHER_RATE, RATE, quality="HQ"),
            recordings.other_waveforms,
        ),
        "log-Mel": over(lambda waveform: log_mel(waveform, FEATURES), tensors),
        "speed": over(lambda waveform, each: speed(waveform, each.speed, RATE), waveforms, drawn),
        "tempo": over(lambda waveform, each: tempo(waveform, each.tempo, RATE), waveforms, drawn),
        "echo": over(
            lambda waveform, each: echo(waveform, each.echo_delay_seconds, each.echo_decay, RATE),
            *(waveforms, drawn),
        ),
        "speed, tempo and echo": over(
            lambda waveform, each: augment(waveform, each, RATE), waveforms, drawn
        ),
        "SpecAugment, 2 + 2 masks": over(
            lambda rows: spec_augment(rows, PAPER, random), recordings.features
        ),
        WHOLE_WAY: over(prepare, paths),
        "FLAC to log-Mel, all augmentation": over(way, paths, drawn),
    }


def in_turn(
    steps: dict[str, Callable[[], None]], *, repetitions: int, warm_up: int
) -> dict[str, list[float]]:
    """Return the seconds of processor time of each step, a number for each repetition."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for repetition in range(warm_up + repetitions):
        for name, run in steps.items():
            began = time.process_time()
            run()
            if repetition >= warm_up:
                times[name].append(time.process_time() - began)
    return times


def load(paths: list[Path]) -> Recordings:
    """Decode the recordings and draw what happens to them."""
    waveforms = [audio.read(path, sample_rate_hz=RATE) for path in paths]
    drawn = draws(PAPER, seed=1, epoch=0, key=("benchmark",), num=len(paths))
    return Recordings(
        paths=paths,
        waveforms=waveforms,
        other_waveforms=[soxr.resample(waveform, RATE, OTHER_RATE) for waveform in waveforms],
        features=[log_mel(torch.from_numpy(each), FEATURES).numpy() for each in waveforms],
        drawn=[drawn[i] for i in range(len(paths))],
    )


def write_synthetic(folder: Path, num_files: int) -> list[Path]:
    """Write recordings of 2 to 20 s that cost a decoder what speech does; return their files.

    Noise below 4 kHz over a voice's harmonics, in syllables with pauses between them: FLAC packs it
    to about half of its samples, as it does read speech.
    """
    random = np.random.default_rng(0)
    paths: list[Path] = []
    for number in range(num_files):
        at = np.arange(int(RATE * random.uniform(2, 20))) / RATE
        pitch_hz = random.uniform(90, 220) * (1 + 0.1 * np.sin(2 * np.pi * 0.5 * at))
        phase = 2 * np.pi * np.cumsum(pitch_hz) / RATE
        voice = sum(np.sin(k * phase) / k for k in range(1, 18))
        noise = soxr.resample(random.normal(0, 1, len(at) // 2 + 1), 1, 2)[: len(at)]
        syllables = np.clip(np.sin(2 * np.pi * random.uniform(2, 3) * at), 0, None)
        signal = 0.06 * syllables * (voice + 0.3 * noise) + 0.002 * noise
        paths.append(folder / f"{number:04}.flac")
        soundfile.write(paths[-1], signal, RATE, subtype="PCM_16")
    return paths


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Times decoding, features and augmentation.")
    parser.add_argument("--audio", type=Path, help="a folder of FLAC files; else synthetic speech")
    parser.add_argument("--files", type=int, default=60, help="at most so many files")
    parser.add_argument("--repetitions", type=int, default=10, help="timed rounds")
    parser.add_argument("--warm-up", type=int, default=2, help="rounds before, not timed")
    parser.add_argument("--tiny", action="store_true", help="only shows that it runs")
    return parser.parse_args()


if __name__ == "__main__":
    main()
