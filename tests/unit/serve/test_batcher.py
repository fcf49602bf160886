"""The queue: who is next, with whom, and what becomes of those that leave or fail."""

from __future__ import annotations

import threading
import time
from concurrent.futures import CancelledError, Future
from dataclasses import replace

import numpy as np
import pytest

from conftest import ASR, MT, NUM_BINS, ST
from taskaware.serve.batcher import Batcher, Job, NobodyWaitsError
from taskaware.serve.failures import ServiceError
from taskaware.serve.metrics import Metrics
from taskaware.serve.turns import Turns
from tiny_service import random_model

MODEL = random_model()
SECONDS = 60


@pytest.fixture
def batcher():
    made = Batcher(MODEL, max_waiting=8, batch_size=3, answer_seconds=100, metrics=Metrics())
    yield made
    made.close(SECONDS)


def job(task=ASR, length: int = 30, **changes) -> Job:
    array = (
        np.arange(4, 4 + length)
        if task is MT
        else np.random.default_rng(length).standard_normal((length, NUM_BINS)).astype(np.float32)
    )
    decoding = replace(MODEL.decoding, **changes)
    embedding = MODEL.task_embeddings[task.name]
    return Job(task=task, task_embedding=embedding, array=array, decoding=decoding)


def test_the_one_that_waited_longest_is_next_with_those_most_like_it(batcher: Batcher):
    lengths = (40, 90, 42, 20, 44, 91)
    jobs = [job(task=ASR if i % 2 else ST, length=n) for i, n in enumerate(lengths)]
    batcher.submit(jobs)
    taken = [[len(one.array) for one in batcher._choose()] for _ in range(3)]
    assert taken == [[40, 42, 44], [90, 91, 20], []]


def test_another_kind_of_source_or_search_is_another_batch(batcher: Batcher):
    batcher.submit([job(), job(MT, 5), job(beam=3), job(ST)])
    taken = [[one.task.name for one in batcher._choose()] for _ in range(3)]
    assert taken == [["asr_en", "st_en_de"], ["mt_en_de"], ["asr_en"]]


def test_outputs_of_tasks_that_share_a_batch_are_those_of_each_alone(batcher: Batcher):
    jobs = [job(ASR, 30), job(ST, 36), job(ASR, 41)]
    batcher.submit(jobs)
    batcher.start()
    for one in jobs:
        (best, *_) = one.future.result(SECONDS)
        ((alone, *_),) = MODEL.decode(one.task, [one.array])
        assert best.token_ids == alone.token_ids


def test_what_nobody_waits_for_is_not_made(batcher: Batcher):
    gone, there = job(), job()
    batcher.submit([gone, there])
    gone.future.cancel()
    batcher.start()
    assert there.future.result(SECONDS)
    with pytest.raises(CancelledError):
        gone.future.result(0)
    assert "taskaware_batch_size_sum 1.0" in batcher._metrics.text().decode()


def test_a_full_queue_takes_all_of_a_request_or_nothing(batcher: Batcher):
    batcher.submit([job() for _ in range(6)])
    with pytest.raises(ServiceError, match="at most 8 outputs may wait") as caught:
        batcher.submit([job() for _ in range(3)])
    assert caught.value.status == 429
    assert caught.value.retry_after_seconds == 1
    batcher.submit([job(), job()])


def test_what_would_wait_too_long_is_refused_at_once_with_when_to_come(batcher: Batcher):
    batcher._note_time(1, 50.0)
    batcher.submit([job(), job()])
    with pytest.raises(ServiceError, match="will take about 100 s") as caught:
        batcher.submit([job()])
    assert caught.value.retry_after_seconds == 30


def test_one_that_fails_does_not_take_the_others_with_it(batcher: Batcher):
    bad = job()
    bad = replace(bad, array=bad.array[:, :3])  # too few columns for the network
    good = [job(), job(ST)]
    batcher.submit([good[0], bad, good[1]])
    batcher.start()
    assert [len(one.future.result(SECONDS)) for one in good] == [1, 1]
    with pytest.raises(Exception, match=r"\S"):
        bad.future.result(SECONDS)


def test_closing_finishes_what_was_taken_and_takes_no_more(batcher: Batcher):
    jobs = [job() for _ in range(7)]
    batcher.submit(jobs)
    batcher.start()
    assert batcher.close(SECONDS)
    assert all(one.future.done() for one in jobs)
    with pytest.raises(ServiceError) as caught:
        batcher.submit([job()])
    assert caught.value.status == 503


def test_long_work_lets_others_have_their_turns_and_ends_when_unwanted(batcher: Batcher):
    batcher.start()
    others_done = threading.Event()
    begun = threading.Event()

    def endless(_, visit):
        begun.set()
        for _ in range(100_000):
            time.sleep(0.001)
            visit.pause()
        raise AssertionError("it went on")

    long = batcher.call(endless)
    begun.wait(SECONDS)
    other = job()
    batcher.submit([other])
    assert other.future.result(SECONDS)
    others_done.set()
    long.is_unwanted.set()
    with pytest.raises(NobodyWaitsError):
        long.future.result(SECONDS)


def part(length: int) -> Job:
    """A part of a recording, which its long work has encoded already."""
    memory = np.random.default_rng(length).standard_normal((length, MODEL.settings.d_model))
    return replace(job(), array=memory.astype(np.float32), is_part=True, future=Future())


def until_waiting(batcher: Batcher, number: int) -> None:
    """Wait until so many outputs are in the queue."""
    end = time.monotonic() + SECONDS
    while len(batcher._waiting) < number:
        assert time.monotonic() < end
        time.sleep(0.001)


def test_parts_of_several_recordings_are_decoded_together(batcher: Batcher):
    lengths = (5, 6, 7)
    waiting = [
        batcher.call(lambda _, visit, n=n: visit.outputs([part(n)])[0][0].token_ids)
        for n in lengths
    ]
    until_waiting(batcher, len(lengths))  # each has left its turn to the next
    batcher.start()
    found = [long.future.result(SECONDS) for long in waiting]
    alone = [MODEL.decode(ASR, [part(n).array], is_encoded=True)[0][0].token_ids for n in lengths]
    assert found == alone
    assert "taskaware_batch_size_sum 3.0" in batcher._metrics.text().decode()
    assert "taskaware_batch_size_count 1.0" in batcher._metrics.text().decode()


def test_closing_makes_the_parts_of_what_was_taken(batcher: Batcher):
    batcher.start()
    begun = threading.Event()

    def late(_, visit):
        begun.set()
        time.sleep(0.2)  # when the queue is empty and closing
        return visit.outputs([part(5)])

    long = batcher.call(late)
    begun.wait(SECONDS)
    assert batcher.close(SECONDS)
    assert long.future.result(0)


def test_work_that_nobody_wants_leaves_no_parts_in_the_queue(batcher: Batcher):
    long = batcher.call(lambda _, visit: visit.outputs([part(5)]))
    until_waiting(batcher, 1)
    long.is_unwanted.set()
    with pytest.raises(NobodyWaitsError):
        long.future.result(SECONDS)
    assert batcher._choose() == []


def test_turns_are_had_in_the_order_in_which_they_were_asked_for():
    turns, order = Turns(), []
    threads = []

    def have(number: int) -> None:
        with turns.turn():
            order.append(number)

    with turns.turn():
        for number in range(5):
            threads.append(threading.Thread(target=have, args=(number,)))
            threads[-1].start()
            while len(turns._queue) <= number:
                time.sleep(0.001)
        turns.pass_on()
        assert order == [0, 1, 2, 3, 4]
    for thread in threads:
        thread.join()
