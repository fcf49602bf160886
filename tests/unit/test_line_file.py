"""Files that are written line by line."""

from __future__ import annotations

from pathlib import Path

import pytest

from taskaware.cli.failures import message_and_code
from taskaware.line_file import open_lines

FULL = Path("/dev/full")  # every write to it meets a full disk


@pytest.mark.skipif(not FULL.exists(), reason="the system has no /dev/full")
def test_a_file_that_a_full_disk_stops_is_named_also_where_its_end_is_written():
    with pytest.raises(OSError, match="No space left") as raised, open_lines(FULL) as file:
        file.write("id\treason\n")
    told = message_and_code(raised.value)
    assert told is not None
    assert told[0].startswith("/dev/full: No space left on device; free some space")


def test_lines_are_written_as_they_are_and_a_file_can_be_gone_on_with(tmp_path: Path):
    path = tmp_path / "lines"
    for mode, text in (("w", "ä\r\n"), ("a", "\udcff\n")):
        with open_lines(path, mode, errors="backslashreplace") as file:
            file.write(text)
    assert path.read_bytes() == "ä\r\n\\udcff\n".encode()
