"""Changed copies as files: what is written, what is kept, what is left out."""

from __future__ import annotations

import itertools
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile

from taskaware.data.sound import augmented_copies as augmented_audio
from taskaware.data.sound.augmentation import Draw, augment, draws
from taskaware.data.sound.augmented_copies import augment_signals, describe
from taskaware.data.sound.settings import AugmentationSettings
from taskaware.errors import AudioError, UserError, WriteError
from taskaware.types import Example, Speech

RATE = 8_000
PAPER = AugmentationSettings()
COPIES = {"iwslt": 2, "europarl_st": 1}


@pytest.fixture
def talk(tmp_path: Path) -> Path:
    """Three seconds of noise, three words at 0, 1 and 2 s of different loudness."""
    random = np.random.default_rng(0)
    words = [random.normal(0, loudness, RATE) for loudness in (0.05, 0.1, 0.2)]
    path = tmp_path / "talk.wav"
    soundfile.write(path, np.concatenate(words).clip(-1, 1), RATE)
    return path


def example(path: Path, number: int = 0, *, dataset: str = "iwslt", **fields) -> Example:
    return Example(
        id=f"talk-{number}",
        task="st_en_de",
        dataset=dataset,
        target_text=f"Wort {number}",
        speech=Speech(path=path, start_seconds=number, duration_seconds=1.0),
        speaker="anna",
        utterance=f"utterance {number}",
        **fields,
    )


def run(examples, folder: Path, copies=COPIES, settings=PAPER, seed: int = 1, num_workers: int = 2):
    return list(augment_signals(examples, folder, copies, settings, seed, num_workers))


def flac_files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.flac"))


def test_each_data_set_gets_its_number_of_copies_in_order(talk: Path, tmp_path: Path):
    text = Example(id="t", task="mt", dataset="iwslt", target_text="x", source_text="y")
    examples = [
        example(talk, 0),
        text,
        example(talk, 1, dataset="europarl_st"),
        example(talk, 2, dataset="must_c"),
    ]
    made = run(examples, tmp_path / "copies")
    assert [each.id for each in made] == ["talk-0-aug1", "talk-0-aug2", "talk-1-aug1"]
    assert len(flac_files(tmp_path / "copies")) == 3


def test_a_copy_is_its_example_with_other_speech(talk: Path, tmp_path: Path):
    original = example(talk, 1, origin="text nmt-1 beam 2")
    copy = run([original], tmp_path / "copies")[0]
    drawn = draws(AugmentationSettings(share=1), seed=1, epoch=0, key=("iwslt", "talk-1"), num=1)[0]
    for name in ("task", "dataset", "target_text", "speaker", "utterance"):
        assert getattr(copy, name) == getattr(original, name)
    assert copy.origin == f"text nmt-1 beam 2; {describe(drawn)}"
    samples, rate = soundfile.read(talk, start=RATE, frames=RATE, dtype="float32")
    expected = augment(samples, drawn, rate)
    written, written_rate = soundfile.read(copy.speech.path, dtype="float32")
    assert written_rate == RATE
    assert soundfile.info(copy.speech.path).subtype == "PCM_16"
    assert copy.speech.start_seconds == 0
    assert copy.speech.duration_seconds == len(expected) / RATE
    assert np.abs(expected).max() < 1
    np.testing.assert_allclose(written, expected, atol=1 / 32_768)


def test_what_is_done_is_said_in_words():
    drawn = Draw(speed=0.97, tempo=1.1, echo_delay_seconds=0.12, echo_decay=0.1)
    assert describe(drawn) == "signal speed 0.97 tempo 1.1 echo 120 ms 0.1"
    assert describe(Draw(tempo=1.1)) == "signal tempo 1.1"


def test_an_echo_past_full_scale_makes_the_copy_quieter_and_clips_nothing(tmp_path: Path):
    path = tmp_path / "loud.wav"
    tone = np.sin(2 * np.pi * 100 * np.arange(RATE) / RATE)
    soundfile.write(path, tone, RATE, subtype="FLOAT")
    only_echo = AugmentationSettings(speed=False, tempo=False, echo_decay_range=(0.2, 0.2))
    copies = run([example(path, 0)], tmp_path / "copies", settings=only_echo)
    drawn = draws(
        AugmentationSettings(share=1, speed=False, tempo=False, echo_decay_range=(0.2, 0.2)),
        seed=1,
        epoch=0,
        key=("iwslt", "talk-0"),
        num=2,
    )
    peaks = []
    for i, copy in enumerate(copies):
        expected = augment(tone.astype(np.float32), drawn[i], RATE)
        written, _ = soundfile.read(copy.speech.path, dtype="float32")
        peaks.append(np.abs(expected).max())
        np.testing.assert_allclose(written, expected / max(1, peaks[-1]), atol=2 / 32_768)
    assert max(peaks) > 1.01


def test_a_second_call_makes_only_what_is_missing(
    talk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = tmp_path / "copies"
    examples = [example(talk, number) for number in range(3)]
    first = run(examples, folder)
    gone, damaged, *others = flac_files(folder)
    content = {path: path.read_bytes() for path in flac_files(folder)}
    times = {path: path.stat().st_mtime_ns for path in others}
    gone.unlink()
    damaged.write_bytes(b"")
    written: list[Path] = []
    write = augmented_audio._write
    monkeypatch.setattr(
        augmented_audio, "_write", lambda path, *rest: (written.append(path), write(path, *rest))[1]
    )
    assert run(examples, folder) == first
    assert sorted(written) == sorted([gone, damaged])
    assert {path: path.read_bytes() for path in flac_files(folder)} == content
    assert {path: path.stat().st_mtime_ns for path in others} == times


def test_more_copies_keep_the_first_ones(talk: Path, tmp_path: Path):
    folder = tmp_path / "copies"
    two = run([example(talk)], folder, {"iwslt": 2})
    four = run([example(talk)], folder, {"iwslt": 4})
    assert four[:2] == two
    assert len({each.origin for each in four}) == 4
    assert len(flac_files(folder)) == 4


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 2},
        {"settings": AugmentationSettings(tempo_range=(0.9, 0.9))},
        {"settings": AugmentationSettings(echo=False)},
    ],
)
def test_copies_made_in_another_way_are_not_taken_for_these(talk: Path, tmp_path: Path, other):
    folder = tmp_path / "copies"
    before = {each.speech.path for each in run([example(talk)], folder)}
    after = {each.speech.path for each in run([example(talk)], folder, **other)}
    assert not before & after


def test_nothing_depends_on_the_number_of_threads_or_the_folder(talk: Path, tmp_path: Path):
    examples = [example(talk, number) for number in range(3)]
    one = run(examples, tmp_path / "one", num_workers=1)
    many = run(examples, tmp_path / "many", num_workers=4)
    assert [each.origin for each in one] == [each.origin for each in many]
    for a, b in zip(one, many, strict=True):
        assert a.speech.path.read_bytes() == b.speech.path.read_bytes()
        assert a.speech.path.name == b.speech.path.name


def test_a_write_that_is_cut_off_leaves_no_copy(
    talk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def full(path: Path, content: bytes) -> None:
        with path.open("wb") as file:
            file.write(content[:100])
        raise OSError(28, "No space left on device")

    folder = tmp_path / "copies"
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(WriteError, match=r"must be writable.*No space left"):
        run([example(talk)], folder)
    assert [path.name for path in folder.rglob("*") if path.is_file()] == ["left_out.tsv"]


def test_a_recording_that_cannot_be_read_is_left_out_and_named(talk: Path, tmp_path: Path):
    broken = tmp_path / "broken.flac"
    broken.write_bytes(b"no audio")
    examples = [example(broken, 5), example(talk, 0), example(talk, 9)]
    made = run(examples, tmp_path / "copies")
    assert [each.id for each in made] == ["talk-0-aug1", "talk-0-aug2"]
    rows = (tmp_path / "copies/left_out.tsv").read_text(encoding="utf-8").splitlines()
    assert [row.split("\t")[0] for row in rows] == [
        *("id", "talk-5-aug1", "talk-5-aug2", "talk-9-aug1", "talk-9-aug2")
    ]
    assert "must be a recording" in rows[1]
    assert "must start before the end" in rows[3]
    with pytest.raises(AudioError, match=r"no copy could be made, of 2 asked for; .*must be a rec"):
        run([example(broken, 5)], tmp_path / "nothing")


def test_ids_with_any_characters_become_different_files_inside_the_folder(
    talk: Path, tmp_path: Path
):
    names = ["../../etc/x", "../../etc:x", "ä" * 300, "b" + "ä" * 300, "..", "a b", "a\tb"]
    examples = [
        Example(id=name, task="st", dataset="../d", target_text="x", speech=Speech(path=talk))
        for name in names
    ]
    made = run(examples, tmp_path / "copies", {"../d": 1})
    paths = {each.speech.path.resolve() for each in made}
    assert len(paths) == len(names)
    assert all(path.is_relative_to(tmp_path / "copies") for path in paths)


def test_examples_are_read_only_a_little_ahead(talk: Path, tmp_path: Path):
    num_read = 0

    def endless():
        nonlocal num_read
        for number in itertools.count():
            num_read += 1
            yield example(talk, 0, dataset="iwslt" if number % 2 else "other")

    copies = augment_signals(endless(), tmp_path / "copies", {"iwslt": 1}, PAPER, 1, 2)
    for _ in range(50):
        next(copies)
    assert num_read < 2 * (50 + 2 * 8 + 2)
    copies.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("augmentation")]


def test_progress_counts_copies_and_ends_with_all(talk: Path, tmp_path: Path):
    counts: list[int] = []
    examples = [example(talk, 0) for _ in range(60)]
    made = augment_signals(
        examples, tmp_path / "copies", {"iwslt": 2}, PAPER, 1, 2, progress=counts.append
    )
    assert len(list(made)) == 120
    assert counts == [100, 120]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            {"settings": AugmentationSettings(speed=False, tempo=False, echo=False)},
            "at least one of speed, tempo and echo",
        ),
        ({"copies": {"iwslt": -1}}, "the copies of 'iwslt' must be 0 or more, but are -1"),
        ({"num_workers": 0}, "workers must be at least 1, but is 0"),
    ],
)
def test_impossible_requests_are_refused(talk: Path, tmp_path: Path, wrong, message: str):
    with pytest.raises(UserError, match=message):
        run([example(talk)], tmp_path / "copies", **wrong)
