"""How long programs take to start: ours, torch's, Hugging Face's, each in a new process.

    python benchmarks/start_up.py --whisper WHISPER_BASE --model IMPORTED

In turn (A B C, A B C, ...), the clock's time, medians, after one round that was not timed.
WHISPER_BASE is a Whisper in Hugging Face's layout, IMPORTED what ``taskaware import`` made of it:
both are loaded, and nothing is decoded. Without them, what is imported alone. The last line is
JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from taskaware.evaluation.machine import processor_name


def programs(options: argparse.Namespace) -> dict[str, str]:
    """Return what is started, by name: each a program of Python; the first is the floor."""
    ours = "from taskaware.cli.main import main; main({arguments})"
    found = {
        "import torch": "import torch",
        "taskaware --version": ours.format(arguments=["--version"]),
        "taskaware train --help": ours.format(arguments=["train", "--help"]),
        "import taskaware": "import taskaware",
        "Hugging Face: import a class": (
            "from transformers import Speech2TextForConditionalGeneration"
        ),
    }
    if options.model and options.whisper:
        found["taskaware: load a Whisper"] = (
            f"import taskaware; taskaware.load({str(options.model)!r})"
        )
        found["Hugging Face: load the same"] = (
            "from transformers import WhisperForConditionalGeneration, WhisperTokenizerFast; "
            f"folder = {str(options.whisper)!r}; "
            "WhisperForConditionalGeneration.from_pretrained(folder); "
            "WhisperTokenizerFast.from_pretrained(folder)"
        )
    return found


def main() -> None:
    """Print the machine, a table, and one line of JSON."""
    parser = argparse.ArgumentParser(description="Times of starting programs.")
    parser.add_argument("--whisper", type=Path, help="a Whisper in Hugging Face's layout")
    parser.add_argument("--model", type=Path, help="the same, imported")
    parser.add_argument("--repetitions", type=int, default=5, help="timed rounds")
    options = parser.parse_args()
    chosen = programs(options)
    took: dict[str, list[float]] = {name: [] for name in chosen}
    for repetition in range(1 + options.repetitions):
        for name, program in chosen.items():
            seconds = _seconds(program)
            if repetition:
                took[name].append(seconds)
    print(f"machine: {processor_name()}\n")
    print("| program | median s | least to most | times `import torch` |\n|---|---:|---:|---:|")
    floor = statistics.median(took["import torch"])
    for name, times in took.items():
        median = statistics.median(times)
        spread = f"{min(times):.2f} to {max(times):.2f}"
        print(f"| {name} | {median:.2f} | {spread} | {median / floor:.2f} |")
    print("\n" + json.dumps(took))


def _seconds(program: str) -> float:
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", program],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"} | os.environ,
    )
    if done.returncode:
        raise SystemExit(f"{program} must run, but ended with {done.returncode}:\n{done.stderr}")
    return time.monotonic() - began


if __name__ == "__main__":
    main()
