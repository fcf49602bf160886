"""Large pages are asked for where the kernel gives them to those who ask, and only there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from taskaware.large_pages import SWITCH, with_large_pages

ASKED = "always [madvise] never"
TUNABLE = "glibc.malloc.hugetlb=1"
KERNEL = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def test_they_are_asked_for_beside_what_else_is_tuned():
    assert with_large_pages({"A": "1"}, kernel=ASKED, libc="glibc 2.36") == {
        "A": "1",
        "GLIBC_TUNABLES": TUNABLE,
    }
    others = {"GLIBC_TUNABLES": "glibc.malloc.check=3"}
    found = with_large_pages(others, kernel=ASKED, libc="glibc 2.41")
    assert found == {"GLIBC_TUNABLES": f"glibc.malloc.check=3:{TUNABLE}"}


@pytest.mark.parametrize(
    ("environment", "kernel", "libc"),
    [
        ({"GLIBC_TUNABLES": "glibc.malloc.hugetlb=0"}, ASKED, "glibc 2.36"),
        ({"GLIBC_TUNABLES": TUNABLE}, ASKED, "glibc 2.36"),
        ({SWITCH: "0"}, ASKED, "glibc 2.36"),
        ({}, "[always] madvise never", "glibc 2.36"),
        ({}, "always madvise [never]", "glibc 2.36"),
        ({}, ASKED, "glibc 2.34"),
        ({}, ASKED, "glibc"),
        ({}, ASKED, ""),
    ],
)
def test_nothing_is_changed_where_it_is_decided_or_makes_no_difference(
    environment: dict[str, str], kernel: str, libc: str
):
    assert with_large_pages(environment, kernel=kernel, libc=libc) is None


PROGRAM = """
import os, sys
before = os.environ.get("BEFORE")
os.environ["BEFORE"] = before or str(os.getpid())
from taskaware.large_pages import restart_with_large_pages
restart_with_large_pages()
print(before == str(os.getpid()), os.environ.get("GLIBC_TUNABLES"), *sys.argv[1:])
"""


@pytest.mark.skipif(
    not KERNEL.is_file() or "[madvise]" not in KERNEL.read_text(),
    reason="this kernel gives large pages to all or to nobody",
)
def test_a_process_begins_anew_once_with_its_number_and_arguments():
    hidden = ("GLIBC_TUNABLES", SWITCH, "BEFORE")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    command = [sys.executable, "-c", PROGRAM, "a b", "--c"]
    out = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True, timeout=60
    ).stdout
    assert out == f"True {TUNABLE} a b --c\n"
    kept = {**environment, SWITCH: "0"}
    out = subprocess.run(command, env=kept, capture_output=True, text=True, check=True, timeout=60)
    assert out.stdout == "False None a b --c\n"
