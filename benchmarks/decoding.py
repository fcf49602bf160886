"""Times decoding beside other libraries: ``python benchmarks/decoding.py --help``.

Texts: a random Transformer, an equal number of pieces for all. Recordings: a real Whisper. Each
contestant runs in turn; ratios are medians over rounds of what neighbours in time took. Where other
work shares the processor, what is compared is the processor time that a contestant used (``--clock
cpu``, the default), which is the time that it would take alone, but for caches that are shared.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
import warnings
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from decoding_speech import LONGEST, SpeechModels, speech_contestants, waveforms
from decoding_text import TextSizes, text_contestants, text_models

from taskaware.evaluation.machine import processor_name

if TYPE_CHECKING:
    from collections.abc import Callable

THEIRS, OURS = "Hugging Face", "taskaware float32"


def main() -> None:
    """Print the machine, a table for each case, and one line of JSON."""
    options = _options()
    torch.set_num_threads(options.threads)
    warnings.filterwarnings("ignore")
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    machine = _machine(options)
    print("\n".join(f"{name}: {value}" for name, value in machine.items()), flush=True)
    cases: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        if options.only in ("", "text"):
            cases += _texts(options, Path(folder) / "text")
        if options.only in ("", "speech"):
            if options.whisper and options.recordings:
                cases += _recordings(options, Path(folder) / "speech")
            else:
                print("\nno recordings: --whisper and --recordings are not given")
    print("\n" + json.dumps({"machine": machine, "cases": cases}))


def _texts(options: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    sizes = TextSizes(d_model=64, d_ff=128, num_layers=1) if options.tiny else TextSizes()
    models = text_models(sizes, folder, options.threads, options.weights)
    cases = []
    for batch in options.batches:
        for beam in options.beams:
            for num_pieces in (options.pieces, 2) if batch == 1 else (options.pieces,):
                runs = text_contestants(
                    models, sizes, batch=batch, beam=beam, num_pieces=num_pieces
                )
                what = "one piece and the end" if num_pieces == 2 else f"{num_pieces} pieces"
                about = {"source": "text", "batch": batch, "beam": beam, "what": what}
                cases.append(_case(about, runs, options, pieces=batch * num_pieces))
    return cases


def _recordings(options: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    models = SpeechModels(options.whisper, folder, options.threads, options.weights)
    cases = []
    for seconds in options.seconds:
        for batch in options.batches:
            heard = waveforms(options.recordings, seconds=seconds, number=batch)
            for beam in options.beams:
                for longest in (LONGEST, 2) if batch == 1 else (LONGEST,):
                    runs = speech_contestants(models, heard, beam=beam, longest=longest)
                    what = "two pieces" if longest == 2 else f"{seconds:g} s each"
                    about = {"source": "speech", "batch": batch, "beam": beam, "what": what}
                    cases.append(_case(about, runs, options, seconds=batch * seconds))
    return cases


def _case(
    about: dict[str, Any],
    runs: dict[str, Callable[[], list[list[int]]]],
    options: argparse.Namespace,
    *,
    pieces: int | None = None,
    seconds: float | None = None,
) -> dict[str, Any]:
    """Measure the contestants in turn, print their table and return what it says."""
    clock = time.process_time if options.clock == "cpu" else time.perf_counter
    times: dict[str, list[float]] = {name: [] for name in runs}
    outputs: dict[str, list[list[int]]] = {}
    for repetition in range(options.warm_up + options.repetitions):
        for name, run in runs.items():
            began = clock()
            with torch.inference_mode():
                outputs[name] = run()
            if repetition >= options.warm_up:
                times[name].append(clock() - began)
    rows = []
    for name, took in times.items():
        median = statistics.median(took)
        written = sum(map(len, outputs[name]))
        rate = pieces / median if pieces else written / median
        same = sum(a == b for a, b in zip(outputs[name], outputs[OURS], strict=True))
        rows.append(
            {
                "name": name,
                "ms": 1e3 * median,
                "times_hugging_face": _ratio(times[THEIRS], took),
                "ours_takes_times": _ratio(times[OURS], took),
                "pieces_per_second": rate,
                "real_time_factor": median / seconds if seconds else None,
                "same_as_ours": f"{same}/{len(outputs[name])}",
            }
        )
    print("\n" + _table(about, rows), flush=True)
    return about | {"rows": rows}


def _ratio(times: list[float], others: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(times, others, strict=True))


def _table(about: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    title = f"{about['source']}, batch {about['batch']}, beam {about['beam']}, {about['what']}"
    is_speech = about["source"] == "speech"
    lines = [
        f"**{title}**",
        "",
        "| | median ms | times as fast as Hugging Face | ours float32 takes times as long "
        "| pieces/s | outputs as ours |" + (" real-time factor |" if is_speech else ""),
        "|---|---:|---:|---:|---:|---:|" + ("---:|" if is_speech else ""),
    ]
    for row in rows:
        factor = f" {row['real_time_factor']:.3f} |" if is_speech else ""
        lines.append(
            f"| {row['name']} | {row['ms']:.0f} | {row['times_hugging_face']:.2f} "
            f"| {row['ours_takes_times']:.2f} | {row['pieces_per_second']:.1f} "
            f"| {row['same_as_ours']} |{factor}"
        )
    return "\n".join(lines)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--clock", choices=["cpu", "wall"], default="cpu")
    parser.add_argument("--repetitions", type=int, default=5, help="timed rounds")
    parser.add_argument("--warm-up", type=int, default=1, help="rounds before, not timed")
    parser.add_argument("--only", choices=["text", "speech"], default="")
    parser.add_argument("--beams", type=int, nargs="+", default=[1, 4, 8])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--pieces", type=int, default=30, help="of every text written")
    parser.add_argument("--seconds", type=float, nargs="+", default=[2, 10, 30])
    parser.add_argument(
        "--weights", nargs="+", default=["float32", "bfloat16", "int8"], help="of ours"
    )
    parser.add_argument("--whisper", type=Path, help="a Whisper in Hugging Face's layout")
    parser.add_argument("--recordings", type=Path, nargs="+", help="speech for it")
    parser.add_argument("--tiny", action="store_true", help="a small text model: does it run?")
    return parser.parse_args()


def _machine(options: argparse.Namespace) -> dict[str, Any]:
    versions = {}
    for name in ("torch", "transformers", "ctranslate2", "faster-whisper"):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return {
        "processor": processor_name(),
        "threads": options.threads,
        "clock": options.clock,
        "repetitions": options.repetitions,
        **versions,
    }


if __name__ == "__main__":
    main()
