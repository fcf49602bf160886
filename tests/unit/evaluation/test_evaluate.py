"""Decoding a split: the sources that the model reads, and the outputs in the order of the split."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from conftest import ASR, MT, NUM_BINS, tiny_settings
from taskaware.data.prepared.contents import Contents
from taskaware.data.prepared.settings import ShardLimits
from taskaware.data.prepared.shards import ShardWriter, npy_bytes
from taskaware.data.prepared.split import Split
from taskaware.data.prepared.storage import LocalStore
from taskaware.data.sound.settings import FeatureSettings
from taskaware.data.vocabulary import Vocabulary
from taskaware.decoding.settings import DecodingSettings
from taskaware.evaluation.evaluate import evaluate
from taskaware.inference import TaskAwareModel
from taskaware.model.create_model import create_model
from taskaware.types import Example, Task

TEXTS = ["a green tree stands here", "the red house", "two old dogs run", "my blue car"]


class Recorder(TaskAwareModel):
    """A model that keeps the sources that it is given to decode."""

    def decode(self, task: Task, sources, **options):
        self.heard = list(sources)
        return super().decode(task, sources, **options)


def model_with(vocabulary: Vocabulary) -> Recorder:
    torch.manual_seed(0)
    settings = tiny_settings(conditioning={"cue": "none"})
    tasks = (ASR, MT)
    network = create_model(settings, vocabulary_size=vocabulary.size, tasks=tasks)
    return Recorder(
        transformer=network.eval(),
        settings=settings,
        tasks=tasks,
        vocabulary=vocabulary,
        feature_settings=FeatureSettings(num_mel_bins=NUM_BINS),
        decoding=DecodingSettings(beam=1),
    )


def split_with(vocabulary: Vocabulary) -> Split:
    """Each text as a text to translate and as speech of another length."""
    folder = Path(tempfile.mkdtemp())
    random = np.random.default_rng(0)
    numbers = {ASR.name: 0, MT.name: 1}
    text = ShardWriter(folder / "test", "text", numbers, ShardLimits())
    speech = ShardWriter(folder / "test", "speech", numbers, ShardLimits())
    for i, line in enumerate(TEXTS):
        length = len(vocabulary.encode(line))
        mt = Example(id=f"mt-{i}", task=MT.name, dataset="", source_text=line, target_text=line)
        text.add_text(mt, source_length=length, target_length=length)
        asr = Example(id=f"asr-{i}", task=ASR.name, dataset="", target_text=line)
        rows = random.normal(size=(40 - i, NUM_BINS)).astype(np.float16)
        speech.add_source([(asr, length)], npy_bytes(rows), "npy", num_frames=len(rows))
    records = [record for record in (text.close(), speech.close()) if record is not None]
    contents = Contents(
        tasks=(ASR, MT),
        vocabulary=vocabulary,
        features=FeatureSettings(num_mel_bins=NUM_BINS),
        stores_audio=False,
    )
    return Split("test", LocalStore(folder), records, contents)


@pytest.fixture(scope="module")
def small() -> Vocabulary:
    return Vocabulary.train(["zzz yyy"], size=272)


@pytest.fixture(scope="module")
def large() -> Vocabulary:
    return Vocabulary.train(TEXTS, size=340)


def test_texts_are_encoded_by_the_model_and_not_by_the_data(small: Vocabulary, large: Vocabulary):
    of_data, of_model = split_with(small), model_with(large)
    assert small.sha256 != large.sha256
    (result,) = evaluate(of_model, of_data, [MT])
    heard = sorted(source.tolist() for source in of_model.heard)
    assert heard == sorted(large.encode(text) for text in TEXTS)
    assert heard != sorted(small.encode(text) for text in TEXTS)
    # The outputs are those on data that was prepared with the model's own vocabulary.
    (expected,) = evaluate(of_model, split_with(large), [MT])
    assert [o.text for o in result.outputs] == [o.text for o in expected.outputs]


def test_features_come_from_the_split(small: Vocabulary, large: Vocabulary):
    split, model = split_with(small), model_with(large)
    evaluate(model, split, [ASR])
    expected = sorted((split.source(int(i)) for i in split.indices(ASR.name)), key=len)
    assert [source.shape for source in model.heard] == [source.shape for source in expected]
    for heard, source in zip(model.heard, expected, strict=True):
        np.testing.assert_array_equal(heard, source)


def test_outputs_keep_the_order_of_the_split_and_a_limit_is_spread_over_it(large: Vocabulary):
    split, model = split_with(large), model_with(large)
    seen: list[tuple[str, int, int]] = []

    def note(task: str, done: int, total: int) -> None:
        seen.append((task, done, total))

    mt, asr = evaluate(model, split, [MT, ASR], limit=3, progress=note)
    assert [output.id for output in mt.outputs] == ["mt-0", "mt-2", "mt-3"]
    assert [output.reference for output in asr.outputs] == [TEXTS[i] for i in (0, 2, 3)]
    assert seen == [(MT.name, 3, 3), (ASR.name, 3, 3)]
    alone = model.run_many(MT.name, [TEXTS[2]])[0][0]
    assert mt.outputs[1].text == alone.text
    assert mt.outputs[1].score == pytest.approx(alone.score, abs=1e-4)


def test_a_task_without_examples_is_left_out(large: Vocabulary):
    other = replace(MT, name="mt_de_en")
    assert evaluate(model_with(large), split_with(large), [other]) == []
