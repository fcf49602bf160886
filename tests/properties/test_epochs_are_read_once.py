"""However many processes read and train, an epoch is every example once, and the same batches."""

from __future__ import annotations

import gc
import json
import multiprocessing
import os
from collections import Counter
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from taskaware.data.batches.batching import TextCue
from taskaware.data.batches.lost_workers import reporting_lost_workers
from taskaware.data.batches.order import PlannedBatch, TaskOrder
from taskaware.data.batches.reader import TrainingReader
from taskaware.data.batches.settings import BatchingSettings
from taskaware.data.batches.stream import TrainingBatches
from taskaware.data.prepare import PrepareSettings, prepare
from taskaware.data.prepared import PreparedData
from taskaware.data.prepared.settings import ShardLimits
from taskaware.data.sound.settings import AugmentationSettings
from taskaware.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    from taskaware.types import Task

WORDS = ["red", "green", "blue", "house", "tree", "dog", "car", "bird", "one", "two", "six", "ten"]
SETTINGS = BatchingSettings(examples_per_batch=4, bucket_batches=2, window_shards=2)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> PreparedData:
    """Speech and text in shards of seven examples, two tasks on each recording."""
    import soundfile

    folder = tmp_path_factory.mktemp("shards")
    random = np.random.default_rng(0)
    lines = []
    for i in range(60):
        text = " ".join(random.choice(WORDS, size=random.integers(1, 6)))
        if i < 25:
            waveform = random.normal(0, 0.1, int(16_000 * random.uniform(0.5, 1.2)))
            soundfile.write(folder / f"{i}.flac", waveform, 16_000)
            lines.append({"task": "asr", "audio": f"{i}.flac", "target_text": text})
            lines.append({"task": "st", "audio": f"{i}.flac", "target_text": f"{text} ."})
        lines.append({"task": "mt", "source_text": f"{text} {i}", "target_text": text})
    manifest = folder / "train.jsonl"
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    prepare(
        {"train": [manifest]},
        folder / "data",
        PrepareSettings(
            vocabulary_size=330,
            store="audio",
            max_bad_share=1.0,
            shards=ShardLimits(examples=7),
            num_workers=1,
        ),
    )
    return PreparedData.open(folder / "data")


def stream(
    data: PreparedData, chosen: BatchingSettings, *, share: float = 0.0, **where: int
) -> TrainingBatches:
    split = PreparedData.open(data.folder).split("train")
    reader = TrainingReader(split, AugmentationSettings(share=share), seed=5)
    return TrainingBatches(
        split,
        reader,
        data.tasks,
        chosen,
        cues={task.name: TextCue() for task in data.tasks},
        seed=5,
        changed_lengths=reader.changed_lengths if share else None,
        **where,
    )


def test_the_data_has_more_shards_than_a_window(data: PreparedData):
    for task in data.tasks:
        assert len(data.split("train").shards(task.name)) > 2 * SETTINGS.window_shards


@settings(max_examples=30, deadline=None)
@given(
    num_ranks=st.integers(1, 12),
    window_shards=st.integers(1, 10),
    strategy=st.sampled_from(["static", "dynamic"]),
    number=st.integers(0, 2),
)
def test_ranks_together_read_every_example_of_an_epoch_once(
    data: PreparedData, num_ranks: int, window_shards: int, strategy, number: int
):
    split, task = data.split("train"), data.tasks[number]
    chosen = replace(SETTINGS, window_shards=window_shards, strategy=strategy, max_tokens=40)
    seen: dict[int, Counter[int]] = {}
    for rank in range(num_ranks):
        order = TaskOrder(split, [task], chosen, seed=1, rank=rank, num_ranks=num_ranks)
        while (planned := next(order)).epoch < 3:
            seen.setdefault(planned.epoch, Counter()).update(planned.indices.tolist())
    assert set(seen) == {0, 1, 2}
    for counts in seen.values():
        assert counts == Counter(split.indices(task.name).tolist())


@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")  # on few cores
@pytest.mark.parametrize("num_ranks", [1, 2, 4])
@pytest.mark.parametrize("num_workers", [0, 1, 2, 4])
def test_an_epoch_read_by_workers_and_ranks_has_the_same_examples(
    data: PreparedData, num_workers: int, num_ranks: int
):
    chosen = replace(SETTINGS, num_workers=num_workers)
    seen: dict[str, Counter[str]] = {task.name: Counter() for task in data.tasks}
    for rank in range(num_ranks):
        batches = stream(data, chosen, rank=rank, num_ranks=num_ranks)
        first_epoch = {task.name: num_batches(data, task, rank, num_ranks) for task in data.tasks}
        for update in islice(batches, max(first_epoch.values())):
            for batch in update:
                if first_epoch[batch.task.name] > 0:
                    first_epoch[batch.task.name] -= 1
                    seen[batch.task.name].update(batch.example_ids)
        batches.close()
    split = data.split("train")
    for task in data.tasks:
        expected = Counter(split.example(int(i)).id for i in split.indices(task.name))
        assert seen[task.name] == expected


def num_batches(data: PreparedData, task: Task, rank: int, num_ranks: int) -> int:
    order = TaskOrder(data.split("train"), [task], SETTINGS, seed=5, rank=rank, num_ranks=num_ranks)
    number = 0
    while next(order).epoch == 0:
        number += 1
    return number


def contents(batches: TrainingBatches, number: int) -> list[tuple[tuple[str, ...], torch.Tensor]]:
    return [(b.example_ids, b.source) for update in islice(batches, number) for b in update]


@pytest.mark.parametrize("num_workers", [1, 2])
@pytest.mark.parametrize("share", [0.0, 1.0])
def test_the_batches_do_not_depend_on_the_number_of_workers(
    data: PreparedData, num_workers: int, share: float
):
    alone = contents(stream(data, SETTINGS, share=share), 20)
    helped = contents(stream(data, replace(SETTINGS, num_workers=num_workers), share=share), 20)
    for (ids, source), (other_ids, other_source) in zip(alone, helped, strict=True):
        assert ids == other_ids
        assert torch.equal(source, other_source)


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("done", [1, 7, 20])
def test_a_stream_goes_on_in_the_middle_of_an_epoch_whatever_was_read_ahead(
    data: PreparedData, done: int, num_workers: int
):
    chosen = replace(SETTINGS, num_workers=num_workers)
    first = stream(data, chosen, share=0.5)
    contents(first, done)
    state = json.loads(json.dumps(first.state_dict()))
    expected = contents(first, 5)
    second = stream(data, chosen, share=0.5)
    second.load_state_dict(state)
    for (ids, source), (other_ids, other_source) in zip(expected, contents(second, 5), strict=True):
        assert ids == other_ids
        assert torch.equal(source, other_source)


def test_augmentation_draws_anew_in_every_epoch_and_knows_the_lengths(data: PreparedData):
    split = data.split("train")
    reader = TrainingReader(split, AugmentationSettings(share=1.0), seed=5)
    indices = split.indices("asr")
    lengths, _ = split.lengths(indices)
    one, two = (reader.changed_lengths(indices, lengths, epoch) for epoch in (0, 1))
    assert not np.array_equal(one, two)
    np.testing.assert_array_equal(one, reader.changed_lengths(indices, lengths, 0))
    sources, _, _ = reader.read(
        PlannedBatch(row_tasks=("asr",) * len(indices), epoch=0, indices=indices)
    )
    assert max(abs(len(s) - n) for s, n in zip(sources, one, strict=True)) <= 3


def test_a_damaged_shard_ends_the_reading_with_its_name(tmp_path: Path, data: PreparedData):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(data.folder, copy)
    path = copy / "train/speech-000002.tar"
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 4
    path.write_bytes(content)
    batches = stream(PreparedData.open(copy), replace(SETTINGS, num_workers=2))
    bad = data.split("train")
    number = [record.name for record in bad.records].index("speech-000002.tar")
    bad_ids = {bad.example(int(i)).id for i in bad.indices("asr", [number])}
    seen: set[str] = set()

    def read_on() -> None:
        for update in islice(batches, 200):
            seen.update(name for batch in update for name in batch.example_ids)

    with pytest.raises(DataError, match=r"speech-000002\.tar: the shard has other bytes"):
        read_on()
    assert not seen & bad_ids


def test_the_processes_that_read_are_ended_with_the_stream(data: PreparedData):
    before = set(multiprocessing.active_children())
    batches = stream(data, replace(SETTINGS, num_workers=2))
    contents(batches, 3)
    assert len(set(multiprocessing.active_children()) - before) == 2
    del batches
    assert not set(multiprocessing.active_children()) - before


class Finalised:
    """Garbage, as a cycle, that writes which process finalised it."""

    def __init__(self, log: Path) -> None:
        self.log, self.itself = log, self

    def __del__(self) -> None:
        with self.log.open("a") as file:
            file.write(f"{os.getpid()}\n")


class CollectingReader(TrainingReader):
    def begin_worker(self) -> None:
        assert gc.isenabled()
        gc.collect()


def test_processes_that_read_finalise_nothing_of_the_one_that_trains(
    data: PreparedData, tmp_path: Path
):
    split = PreparedData.open(data.folder).split("train")
    reader = CollectingReader(split, AugmentationSettings(share=0.0), seed=5)
    cues = {task.name: TextCue() for task in data.tasks}
    batches = TrainingBatches(
        split, reader, data.tasks, replace(SETTINGS, num_workers=2), cues=cues, seed=5
    )
    gc.disable()  # so that it is still there when the processes begin
    try:
        Finalised(tmp_path / "log")
        contents(batches, 3)
        assert not (tmp_path / "log").exists()
        assert not gc.isenabled()  # as it was found
    finally:
        gc.enable()
    batches.close()
    gc.collect()
    assert (tmp_path / "log").read_text().split() == [str(os.getpid())]
    contents(batches, 1)
    assert gc.isenabled()


def test_the_largest_batches_are_of_every_task_and_the_stream_does_not_move(data: PreparedData):
    batches = stream(data, SETTINGS)
    largest = {batch.task.name: batch.source.shape[1] for batch in batches.largest()}
    assert set(largest) == {task.name for task in data.tasks}
    first, second = contents(batches, 20), contents(stream(data, SETTINGS), 20)
    assert [ids for ids, _ in first] == [ids for ids, _ in second]
    in_window = contents(stream(data, SETTINGS), 2)
    assert max(s.shape[1] for _, s in in_window if s.ndim == 3) <= largest["asr"]


@pytest.mark.parametrize("lost", [ConnectionResetError(), EOFError(), BrokenPipeError()])
def test_a_lost_connection_to_a_reading_process_says_that_it_was_killed(
    lost: Exception, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("taskaware.data.batches.lost_workers.time.sleep", lambda _: None)
    with pytest.raises(DataError, match="one was ended"), reporting_lost_workers():
        raise lost


@pytest.mark.parametrize("kind", [RuntimeError, ConnectionError, FileNotFoundError])
def test_what_a_reading_process_failed_at_is_not_taken_for_its_death(kind: type[Exception]):
    with pytest.raises(kind, match="Caught"), reporting_lost_workers():
        raise kind(f"Caught {kind.__name__} in DataLoader worker process 0.")


def test_what_is_lost_without_reading_processes_is_not_taken_for_the_death_of_one(
    data: PreparedData, monkeypatch: pytest.MonkeyPatch
):
    def lose(*_: object) -> None:
        raise ConnectionResetError("the storage")

    monkeypatch.setattr(TrainingReader, "read", lose)
    with pytest.raises(ConnectionResetError, match="the storage"):
        next(stream(data, SETTINGS))
