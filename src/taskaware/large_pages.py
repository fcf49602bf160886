"""Large memory pages for tensors: on Linux, whether malloc asks for them is settled at the start.

Tensors on a CPU lie in memory of malloc. In pages of 4 KiB the processor spends much of its time
on finding where a page is, above all in a virtual machine; in pages of 2 MiB hardly any. glibc asks
the kernel for them where its tunable says so, and reads that once, before Python begins:
https://sourceware.org/glibc/manual/latest/html_node/Memory-Allocation-Tunables.html
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

SWITCH = "TASKAWARE_LARGE_PAGES"  # "0": leave it as it is
TUNABLES = "GLIBC_TUNABLES"  # the variable
TUNABLE = "glibc.malloc.hugetlb"
_FIRST_GLIBC = (2, 35)  # that knows it
_KERNEL = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def restart_with_large_pages() -> None:
    """Begin this process anew, with large pages, where that makes a difference; else return.

    It keeps its number, its arguments and its open files. Nothing must have been read or written.
    """
    if sys.platform != "linux" or not sys.orig_argv or not sys.executable:
        return
    try:
        kernel = _KERNEL.read_text(encoding="ascii")
        libc = os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (OSError, ValueError):
        return
    wanted = with_large_pages(os.environ, kernel=kernel, libc=libc)
    if wanted is not None:
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], wanted)


def with_large_pages(
    environment: Mapping[str, str], *, kernel: str, libc: str
) -> dict[str, str] | None:
    """Return the environment of a process with large pages, or ``None`` where none is needed.

    Args:
        environment: That of now.
        kernel: What the kernel says of large pages: only where it has them for those who ask
            (``[madvise]``) there is something to do.
        libc: Name and version of the C library, for example ``glibc 2.36``.
    """
    tunables = environment.get(TUNABLES, "")
    is_decided = TUNABLE in tunables or environment.get(SWITCH) == "0"
    if is_decided or "[madvise]" not in kernel or not _knows_tunable(libc):
        return None
    return {**environment, TUNABLES: ":".join(filter(None, (tunables, f"{TUNABLE}=1")))}


def _knows_tunable(libc: str) -> bool:
    name, _, version = libc.partition(" ")
    numbers = version.split(".")[:2]
    return (
        name == "glibc"
        and all(number.isdecimal() for number in numbers)
        and tuple(map(int, numbers)) >= _FIRST_GLIBC
    )
