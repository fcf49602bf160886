from __future__ import annotations

import subprocess
import sys

import pytest

from taskaware.held_memory import held_mib, peak_mib

_A_LARGE_PROCESS_STARTS_A_SMALL_ONE = """
import subprocess, sys
held = bytearray(300 << 20)
held[::4096] = bytes(len(held[::4096]))
small = "from taskaware.held_memory import peak_mib; print(peak_mib())"
subprocess.run([sys.executable, "-c", small], check=True)
"""


def test_the_peak_is_at_least_what_is_held() -> None:
    assert 0 < held_mib() <= peak_mib() * 1.01  # the system counts in batches of pages


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system itself counts so")
def test_the_peak_of_a_process_is_not_that_of_the_process_that_started_it() -> None:
    command = [sys.executable, "-c", _A_LARGE_PROCESS_STARTS_A_SMALL_ONE]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    assert float(printed) < 150
