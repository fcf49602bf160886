"""Batches: each example once an epoch, within the budgets, in an order that can be continued."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import ASR, MT, ST, TASKS
from taskaware.data.batches.batching import (
    TextCue,
    batches_of,
    choose_cues,
    collate,
    cut_batches,
    text_cue,
)
from taskaware.data.batches.order import OneShard, TaskOrder
from taskaware.data.batches.settings import BatchingSettings
from taskaware.data.batches.stream import PlainReader, TrainingBatches
from taskaware.data.vocabulary import Vocabulary
from taskaware.data.vocabulary.vocabulary import task_tag
from taskaware.errors import DataError, ExperimentError
from taskaware.types import Batch, Example, Task

STATIC = BatchingSettings(examples_per_batch=4, bucket_batches=3)
DYNAMIC = BatchingSettings(strategy="dynamic", max_tokens=60, max_frames=900, bucket_batches=3)
NO_CUES = {task.name: TextCue() for task in TASKS}


class RandomSplit:
    """Examples of the three tasks, of random lengths, in random order."""

    def __init__(self, *, num_asr: int = 37, num_st: int = 21, num_mt: int = 30, seed: int = 0):
        random = np.random.default_rng(seed)
        names = [ASR.name] * num_asr + [ST.name] * num_st + [MT.name] * num_mt
        order = random.permutation(len(names))
        self.examples = [
            Example(id=f"{names[i]}-{i}", task=names[i], dataset="tones", target_text="")
            for i in order
        ]
        is_text = np.array([example.task == MT.name for example in self.examples])
        frames, pieces = random.integers(40, 400, (2, len(names))) // np.array([[1], [20]])
        self.source_lengths = np.where(is_text, pieces, frames).astype(np.int64)
        self.target_lengths = random.integers(1, 20, len(names))

    def indices(self, task_name: str) -> np.ndarray:
        found = [i for i, example in enumerate(self.examples) if example.task == task_name]
        return np.array(found, dtype=np.int64)

    def source(self, index: int) -> np.ndarray:
        length = self.source_lengths[index]
        if self.examples[index].task == MT.name:
            return np.full(length, 5, dtype=np.int64)
        return np.ones((length, 2), dtype=np.float32)

    def target(self, index: int) -> np.ndarray:
        return np.full(self.target_lengths[index], 6, dtype=np.int64)

    def is_encoded(self, task: Task) -> bool:
        return False


def stream(split: RandomSplit, chosen: BatchingSettings = STATIC, tasks=TASKS, **changes):
    return TrainingBatches(
        OneShard(split),
        PlainReader(split),
        tasks,
        chosen,
        cues=NO_CUES,
        **({"seed": 1} | changes),
    )


def plan_epoch(split: RandomSplit, task, *, settings: BatchingSettings, seed: int, epoch: int):
    """Return the batches of one epoch of one task."""
    order = TaskOrder(OneShard(split), [task], settings, seed=seed)
    order.position = (epoch, 0, 0)
    batches = []
    while True:
        planned = next(order)
        if planned.epoch > epoch:
            return batches
        batches.append(planned.indices)


def ids(batches: list[Batch]) -> list[tuple[str, ...]]:
    return [batch.example_ids for batch in batches]


def take(batches: TrainingBatches, num_updates: int) -> list[tuple[str, ...]]:
    return ids([batch for update in islice(batches, num_updates) for batch in update])


def same(left: Batch, right: Batch) -> bool:
    names = ("source", "source_lengths", "target_input", "target_output", "target_lengths")
    cues = left.cue_examples, right.cue_examples
    if cues != (None, None) and not (cues[0] and cues[1] and same(*cues)):
        return False
    return left.example_ids == right.example_ids and all(
        torch.equal(getattr(left, name), getattr(right, name)) for name in names
    )


# --- an epoch ---


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 1000),
    epoch=st.integers(0, 3),
    task=st.sampled_from(TASKS),
    chosen=st.sampled_from([STATIC, DYNAMIC, replace(STATIC, short_first=True)]),
    num_asr=st.integers(1, 40),
)
def test_an_epoch_holds_every_example_of_the_task_exactly_once(seed, epoch, task, chosen, num_asr):
    split = RandomSplit(num_asr=num_asr, seed=seed)
    plan = plan_epoch(split, task, settings=chosen, seed=seed, epoch=epoch)
    assert sorted(int(i) for batch in plan for i in batch) == split.indices(task.name).tolist()
    assert all(len(batch) for batch in plan)


def test_the_stream_gives_every_example_once_before_any_a_second_time():
    split = RandomSplit()
    num_batches = len(plan_epoch(split, ASR, settings=STATIC, seed=1, epoch=0))
    batches = stream(split, tasks=(ASR,))
    for _ in range(3):
        seen = Counter(name for batch in take(batches, num_batches) for name in batch)
        assert seen == Counter(split.examples[i].id for i in split.indices(ASR.name))


def test_an_update_of_every_task_holds_one_batch_of_each_and_a_batch_one_task():
    split = RandomSplit()
    for update in islice(stream(split), 20):
        assert [batch.task for batch in update] == list(TASKS)
        for batch in update:
            assert {name.rsplit("-", 1)[0] for name in batch.example_ids} == {batch.task.name}


def test_static_batches_have_their_size_but_for_the_last():
    plan = plan_epoch(RandomSplit(), ASR, settings=STATIC, seed=1, epoch=0)
    assert sorted(len(batch) for batch in plan) == [1] + [4] * 9


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 1000),
    max_tokens=st.integers(1, 200),
    max_frames=st.integers(1, 3000),
    task=st.sampled_from([ASR, MT]),
)
def test_a_dynamic_batch_never_exceeds_a_budget_but_for_a_single_example(
    seed, max_tokens, max_frames, task, vocabulary
):
    split = RandomSplit(seed=seed)
    chosen = replace(DYNAMIC, max_tokens=max_tokens, max_frames=max_frames)
    planned = plan_epoch(split, task, settings=chosen, seed=seed, epoch=0)
    for batch in batches_of(split, task, planned, vocabulary=vocabulary, cue="none"):
        if batch.num_examples > 1:
            assert batch.target_input.numel() <= max_tokens
            size = batch.source.shape[0] * batch.source.shape[1]
            assert size <= (max_tokens if task is MT else max_frames)


def test_a_dynamic_batch_is_as_large_as_the_budget_allows():
    lengths = np.full(10, 7)
    chosen = replace(DYNAMIC, max_tokens=32)  # four times 7 pieces and the end
    cut = cut_batches(np.arange(10), lengths, lengths, is_text=True, settings=chosen)
    assert [len(batch) for batch in cut] == [4, 4, 2]


def test_examples_longer_than_the_limits_are_left_out():
    split = RandomSplit()
    chosen = replace(STATIC, max_source=200, max_target=10)
    plan = plan_epoch(split, ASR, settings=chosen, seed=1, epoch=0)
    kept = np.concatenate(plan)
    assert split.source_lengths[kept].max() <= 200
    assert split.target_lengths[kept].max() <= 10
    every = split.indices(ASR.name)
    fits = (split.source_lengths[every] <= 200) & (split.target_lengths[every] <= 10)
    assert len(kept) == fits.sum()


def test_a_task_of_which_nothing_is_left_is_refused_by_name():
    for chosen in (replace(STATIC, max_source=1), replace(DYNAMIC, max_source=1)):
        with pytest.raises(DataError, match=r"asr_en.*batching\.max_source"):
            plan_epoch(RandomSplit(), ASR, settings=chosen, seed=1, epoch=0)


@pytest.mark.parametrize("chosen", [STATIC, DYNAMIC], ids=["static", "dynamic"])
def test_sorting_within_windows_leaves_little_padding(chosen: BatchingSettings):
    split = RandomSplit(num_asr=2000)

    def padding(bucket_batches: int) -> float:
        several = replace(
            chosen, bucket_batches=bucket_batches, max_frames=6000, max_tokens=10**6,
            examples_per_batch=16,
        )  # fmt: skip
        plan = plan_epoch(split, ASR, settings=several, seed=1, epoch=0)
        size = sum(len(batch) * split.source_lengths[batch].max() for batch in plan)
        return 1 - split.source_lengths[split.indices(ASR.name)].sum() / size

    assert padding(50) < 0.03
    assert padding(1) > 3 * padding(50)


# --- order ---


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), epoch=st.integers(0, 50), task=st.sampled_from(TASKS))
def test_the_order_is_a_function_of_seed_task_and_epoch_alone(seed, epoch, task):
    split = RandomSplit()
    first = plan_epoch(split, task, settings=STATIC, seed=seed, epoch=epoch)
    np.random.seed(seed % 7)  # must not matter
    torch.manual_seed(seed)
    second = plan_epoch(RandomSplit(), task, settings=STATIC, seed=seed, epoch=epoch)
    assert [batch.tolist() for batch in first] == [batch.tolist() for batch in second]


@pytest.mark.parametrize("change", [{"epoch": 1}, {"seed": 2}])
def test_another_epoch_or_seed_has_another_order_and_other_batches(change: dict[str, int]):
    split = RandomSplit()
    plans = [
        plan_epoch(split, ASR, settings=STATIC, **({"seed": 1, "epoch": 0} | one))
        for one in ({}, change)
    ]
    orders = [[batch.tolist() for batch in plan] for plan in plans]
    assert orders[0] != orders[1]
    assert {frozenset(b) for b in orders[0]} != {frozenset(b) for b in orders[1]}


def test_the_order_of_a_task_does_not_depend_on_the_other_tasks():
    split = RandomSplit()
    alone = take(stream(split, tasks=(ST,)), 12)
    together = [update[1].example_ids for update in islice(stream(split), 12)]
    assert alone == together


def test_short_first_orders_the_first_epoch_by_length_and_no_other():
    split = RandomSplit()
    chosen = replace(STATIC, short_first=True)

    def means(epoch: int) -> list[float]:
        plan = plan_epoch(split, ASR, settings=chosen, seed=1, epoch=epoch)
        return [float(split.source_lengths[batch].mean()) for batch in plan]

    assert means(0) == sorted(means(0))
    assert means(1) != sorted(means(1))


# --- what the task network looks at ---


@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=8), number=st.integers(1, 5))
def test_cue_examples_are_of_one_other_batch_where_there_is_one(sizes: list[int], number: int):
    ends = np.cumsum(sizes)
    batches = [np.arange(end - size, end) for end, size in zip(ends, sizes, strict=True)]
    cues = choose_cues(batches, number, np.random.default_rng(0))
    assert len(cues) == len(batches)
    for i, chosen in enumerate(cues):
        (home,) = {int(np.searchsorted(ends, index, side="right")) for index in chosen}
        assert (home == i) == (len(batches) == 1)
        assert len(set(chosen.tolist())) == min(number, sizes[home])


def test_every_example_is_a_cue_equally_often_whatever_the_size_of_its_batch():
    batches = [np.arange(2), np.arange(2, 12), np.arange(12, 24), np.arange(24, 36)]
    random = np.random.default_rng(0)
    counts = np.zeros(36)
    for _ in range(4000):
        counts[np.concatenate(choose_cues(batches, 2, random))] += 1
    # A small batch is never its own, so that its examples come a little more often.
    assert counts[:2].mean() == pytest.approx(counts[2:].mean(), rel=0.3)
    assert counts[2:].std() < 0.15 * counts[2:].mean()


@pytest.mark.parametrize("chosen", [STATIC, DYNAMIC], ids=["static", "dynamic"])
def test_the_lengths_of_cue_examples_tell_nothing_of_those_of_the_batch(chosen: BatchingSettings):
    batches = stream(
        RandomSplit(num_asr=900), replace(chosen, cue_examples=3, bucket_batches=100), (ASR,)
    )
    lengths = []
    for (batch,) in islice(batches, 200):
        assert batch.cue_examples is not None
        assert not set(batch.example_ids) & set(batch.cue_examples.example_ids)
        lengths.append(
            [float(b.source_lengths.float().mean()) for b in (batch, batch.cue_examples)]
        )
    assert abs(np.corrcoef(np.array(lengths).T)[0, 1]) < 0.25


def test_cue_examples_leave_the_order_as_it_is():
    plain, with_cues = stream(RandomSplit()), stream(RandomSplit(), replace(STATIC, cue_examples=2))
    assert take(plain, 40) == take(with_cues, 40)


# --- going on ---


@settings(max_examples=30, deadline=None)
@given(
    done=st.integers(0, 25),
    chosen=st.sampled_from(
        [
            STATIC,
            replace(DYNAMIC, cue_examples=2),
            replace(STATIC, mix="sampled", temperature=2.0),
        ]
    ),
    rank=st.integers(0, 1),
)
def test_a_stream_goes_on_with_exactly_the_same_batches(done, chosen, rank):
    split = RandomSplit()
    never_stopped = stream(split, chosen, rank=rank, num_ranks=2)
    list(islice(never_stopped, done))
    saved = json.loads(json.dumps(never_stopped.state_dict()))
    gone_on = stream(RandomSplit(), chosen, rank=rank, num_ranks=2)
    gone_on.load_state_dict(saved)
    for _ in range(15):
        for left, right in zip(next(never_stopped), next(gone_on), strict=True):
            assert same(left, right)
    assert gone_on.state_dict() == never_stopped.state_dict()


def test_a_saved_position_does_not_move_with_the_stream():
    batches = stream(RandomSplit())
    next(batches)
    saved = batches.state_dict()
    before = json.dumps(saved)
    next(batches)
    assert json.dumps(saved) == before


def test_a_position_of_other_tasks_is_refused_by_name():
    split = RandomSplit()
    saved = stream(split, tasks=(ASR, MT)).state_dict()
    with pytest.raises(DataError, match=r"asr_en.*st_en_de"):
        stream(split).load_state_dict(saved)


def test_the_epoch_counts_how_often_the_examples_were_seen():
    batches = stream(RandomSplit(), tasks=(ASR,))  # ten batches an epoch
    take(batches, 15)
    assert batches.epoch(ASR.name) == pytest.approx(1.5)
    gone_on = stream(RandomSplit(), tasks=(ASR,))
    gone_on.load_state_dict(batches.state_dict())
    assert gone_on.epoch(ASR.name) == pytest.approx(1.5)


# --- several processes ---


@pytest.mark.parametrize("chosen", [STATIC, DYNAMIC], ids=["static", "dynamic"])
def test_ranks_share_every_epoch_without_overlap_and_leave_nothing_out(chosen: BatchingSettings):
    split = RandomSplit(num_asr=53)
    orders = [
        TaskOrder(OneShard(split), [ASR], chosen, seed=1, rank=rank, num_ranks=4)
        for rank in range(4)
    ]
    seen: dict[int, list[int]] = {}
    for order in orders:
        while (planned := next(order)).epoch < 3:
            seen.setdefault(planned.epoch, []).extend(planned.indices.tolist())
    assert set(seen) == {0, 1, 2}
    for indices in seen.values():
        assert sorted(indices) == split.indices(ASR.name).tolist()


def test_with_fewer_batches_than_ranks_every_rank_still_has_one():
    split = RandomSplit(num_asr=5)
    for rank in range(4):
        found = take(stream(split, tasks=(ASR,), rank=rank, num_ranks=4), 2)
        assert all(found)


def test_all_ranks_draw_the_same_task():
    split = RandomSplit()
    chosen = replace(STATIC, mix="sampled")
    ranks = [stream(split, chosen, rank=rank, num_ranks=3) for rank in range(3)]
    for _ in range(30):
        assert len({next(rank)[0].task.name for rank in ranks}) == 1


# --- mixing ---


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"temperature": 1.0}, [80 / 125, 40 / 125, 5 / 125]),
        ({"temperature": 2.0}, [8.944 / 17.505, 6.325 / 17.505, 2.236 / 17.505]),
        ({"temperature": 1e6}, [1 / 3, 1 / 3, 1 / 3]),
        ({"task_weights": {"asr_en": 3.0, "mt_en_de": 1.0}}, [0.75, 0.0, 0.25]),
        ({"task_weights": {"st_en_de": 1.0}, "temperature": 9.0}, [0.0, 1.0, 0.0]),
    ],
)
def test_tasks_are_drawn_with_their_probabilities(changes, expected):
    split = RandomSplit(num_asr=80, num_st=40, num_mt=5)
    chosen = replace(STATIC, examples_per_batch=1, mix="sampled", **changes)
    drawn = Counter(batch.task.name for [batch] in islice(stream(split, chosen), 2500))
    shares = [drawn[task.name] / 2500 for task in TASKS]
    assert shares == pytest.approx(expected, abs=0.035)
    assert all(share == 0 for share, wanted in zip(shares, expected, strict=True) if not wanted)


def test_a_weight_for_an_unknown_task_is_refused_by_name():
    chosen = replace(STATIC, mix="sampled", task_weights={"asr_en": 1.0, "st_en_fr": 1.0})
    with pytest.raises(
        ExperimentError, match=r"task_weights.*asr_en, st_en_de, mt_en_de.*st_en_fr"
    ):
        stream(RandomSplit(), chosen)


def test_weights_that_draw_nothing_are_refused():
    chosen = replace(STATIC, mix="sampled", task_weights={"asr_en": 0.0})
    with pytest.raises(ExperimentError, match="above 0"):
        stream(RandomSplit(), chosen)


def test_augmentation_changes_the_lengths_of_speech_alone():
    def doubled(_indices, lengths, _epoch):
        return 2 * lengths

    settings = replace(DYNAMIC, max_source=100)
    for task, is_changed in ((ASR, True), (MT, False)):
        plain, changed = (
            TaskOrder(OneShard(RandomSplit()), [task], settings, seed=1, changed_lengths=change)
            for change in (None, doubled)
        )
        same = [next(plain).indices.tolist() == next(changed).indices.tolist() for _ in range(3)]
        assert all(same) != is_changed


# --- one batch ---


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    texts = ["translate English to German: the red house", "das rote Haus"]
    tags = [task_tag(task.name) for task in TASKS[:2]]
    return Vocabulary.train(texts, size=320, tags=tags)


def test_a_text_label_comes_before_text_sources_only(vocabulary: Vocabulary):
    cue = text_cue(vocabulary, MT, "text_label")
    assert vocabulary.decode(cue.source_prefix) == "translate English to German:"
    assert cue.begin == Vocabulary.BOS
    assert text_cue(vocabulary, ASR, "text_label") == TextCue()
    source = np.array(vocabulary.encode("the red house"))
    batch = collate(MT, [source, source[:2]], [source, source], cue=cue)
    length = len(cue.source_prefix)
    assert batch.source_lengths.tolist() == [length + len(source), length + 2]
    assert batch.source[1, : length + 2].tolist() == [*cue.source_prefix, *source[:2]]
    assert batch.target_input[0].tolist() == [Vocabulary.BOS, *source]


def test_a_target_tag_begins_the_target_and_leaves_the_source_alone(vocabulary: Vocabulary):
    cue = text_cue(vocabulary, ST, "target_tag")
    assert cue == TextCue(begin=vocabulary.tag_id("<task:st_en_de>"))
    assert cue.begin != text_cue(vocabulary, ASR, "target_tag").begin
    batch = collate(ST, [np.ones((3, 2), np.float32)], [np.array([7, 8])], cue=cue)
    assert batch.target_input.tolist() == [[cue.begin, 7, 8]]
    assert batch.target_output.tolist() == [[7, 8, Vocabulary.EOS]]


def test_a_vocabulary_without_the_tasks_tag_is_refused(vocabulary: Vocabulary):
    with pytest.raises(DataError, match="<task:mt_en_de>"):
        text_cue(vocabulary, MT, "target_tag")


@pytest.mark.parametrize("cue", ["none", "explicit", "implicit"])
def test_other_cues_put_nothing_into_the_text(vocabulary: Vocabulary, cue):
    assert all(text_cue(vocabulary, task, cue) == TextCue() for task in TASKS)


def test_a_batch_has_the_shapes_types_and_shift_that_it_promises():
    sources = [np.full((length, 2), length, dtype=np.float32) for length in (3, 5)]
    targets = [np.array([7, 8, 9]), np.array([6])]
    batch = collate(ASR, sources, targets, cue=TextCue(), example_ids=["a", "b"])
    assert batch.source.shape == (2, 5, 2)
    assert batch.source.dtype == torch.float32
    assert batch.source[0, 3:].abs().max() == 0
    assert batch.source_lengths.tolist() == [3, 5]
    assert batch.target_input.tolist() == [[1, 7, 8, 9], [1, 6, 0, 0]]
    assert batch.target_output.tolist() == [[7, 8, 9, 2], [6, 2, 0, 0]]
    assert batch.target_lengths.tolist() == [4, 2]
    integers = (batch.source_lengths, batch.target_lengths, batch.target_input, batch.target_output)
    assert {tensor.dtype for tensor in integers} == {torch.int64}
    assert (batch.example_ids, batch.task) == (("a", "b"), ASR)
    text = collate(MT, targets, targets, cue=TextCue())
    assert text.source.dtype == torch.int64
    assert text.source.tolist() == [[7, 8, 9], [6, 0, 0]]


def shared_stream(cue_examples: int = 0):
    split = RandomSplit()
    settings = replace(DYNAMIC, mix="within_batches", cue_examples=cue_examples)
    return split, TrainingBatches(
        OneShard(split), PlainReader(split), TASKS, settings, cues=NO_CUES, seed=1
    )


def test_shared_batches_hold_every_example_once_an_epoch_and_resume_where_they_stood():
    split, batches = shared_stream()
    seen: Counter[str] = Counter()
    kinds = []
    while min(batches.epochs().values()) < 1:
        for batch in next(batches):
            if batches.epoch(batch.task.name) <= 1:
                seen.update(batch.example_ids)
            kinds.append({task.name for task, _ in batch.parts})
    assert {ASR.name, ST.name} in kinds
    assert {MT.name} in kinds
    speech = [e.id for e in split.examples if e.task != MT.name]
    assert all(seen[one] == 1 for one in speech)
    place = batches.state_dict()
    expected = [batch.example_ids for batch in next(batches)]
    _, again = shared_stream()
    again.load_state_dict(place)
    assert [batch.example_ids for batch in next(again)] == expected


def test_every_task_of_a_shared_batch_has_cue_examples():
    _, batches = shared_stream(cue_examples=2)
    for _ in range(5):
        for batch in next(batches):
            cues = batch.cue_examples
            assert cues is not None
            assert {t.name for t, _ in cues.parts} == {t.name for t, _ in batch.parts}
    for batch in batches.largest():
        assert batch.cue_examples is not None
