"""Lists of segments, in the forms that they come in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from taskaware.data.corpora.segment_list import read_segment_list
from taskaware.errors import CorpusError

if TYPE_CHECKING:
    from pathlib import Path

_FORMS = {
    "one a line": "- {duration: 2.5, offset: 1.25, rW: 9, speaker_id: spk.1, wav: ted_1.wav}\n",
    "folded": "- {duration: 2.5, offset: 1.25, speaker_id: spk.1,\n  wav: ted_1.wav}\n",
    "quoted": '- {"wav": "ted_1.wav", "offset":1.25, "duration":2.5, \'speaker_id\': \'spk.1\'}\n',
    "block": "- duration: 2.5\n  offset: 1.25\n  speaker_id: spk.1\n  wav: ted_1.wav\n",
    "document": "---\n# all\n\n- {offset: 1.25, duration: 2.5, speaker_id: spk.1, wav: ted_1.wav}",
}


@pytest.mark.parametrize("form", _FORMS)
def test_every_form_of_an_entry_is_read(form: str, tmp_path: Path):
    path = tmp_path / "train.yaml"
    path.write_text(_FORMS[form] * (1 if form == "document" else 2), encoding="utf-8")
    entries = list(read_segment_list(path))
    assert len(entries) == (1 if form == "document" else 2)
    for entry in entries:
        assert (entry.start_seconds, entry.duration_seconds) == (1.25, 2.5)
        assert (entry.recording, entry.speaker) == ("ted_1.wav", "spk.1")


def test_a_recording_whose_name_begins_with_a_hyphen_keeps_it(tmp_path: Path):
    path = tmp_path / "train.yaml"
    path.write_text("- {duration: 1.0, offset: 0.0, wav: -a-B_c.wav}\n", encoding="utf-8")
    assert [entry.recording for entry in read_segment_list(path)] == ["-a-B_c.wav"]


@pytest.mark.parametrize("line", ["- {duration: 2.5}", "- {duration: x, offset: 1}", "duration: 1"])
def test_an_entry_without_its_times_is_refused_with_its_line(line: str, tmp_path: Path):
    path = tmp_path / "train.yaml"
    path.write_text(f"---\n{line}\n", encoding="utf-8")
    with pytest.raises(CorpusError, match=r"train\.yaml, line 2 must be"):
        list(read_segment_list(path))


def test_a_time_that_is_not_finite_is_refused(tmp_path: Path):
    path = tmp_path / "train.yaml"
    path.write_text("- {duration: nan, offset: 1.0}\n", encoding="utf-8")
    with pytest.raises(CorpusError, match="line 1 must be a segment"):
        list(read_segment_list(path))
