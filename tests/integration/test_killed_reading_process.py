"""A process that reads batches is killed: training says so, and what to do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tiny_corpus import prepare_corpus


def test_a_reading_process_that_is_killed_is_said_to_be(tmp_path: Path):
    program = Path(__file__).with_name("read_with_killed_workers.py")
    result = subprocess.run(
        [sys.executable, program, prepare_corpus(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert "one was ended" in result.stdout, result.stderr
    assert "lower `batching.num_workers`" in result.stdout
