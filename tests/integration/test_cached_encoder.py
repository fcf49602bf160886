"""Data prepared with the outputs of a frozen encoder: computed once, trained on, evaluated.

The model has random weights and the form of Whisper; its recordings are filled up to two seconds.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

import taskaware
from taskaware.cli.main import run
from taskaware.data.batches.batching import TextCue, collate
from taskaware.data.prepare import PrepareSettings, encoding, prepare
from taskaware.data.prepared.folder import PreparedData
from taskaware.data.sound.settings import AugmentationSettings, FeatureSettings
from taskaware.decoding.settings import DecodingSettings
from taskaware.errors import CheckpointError, DataError, ExperimentError, UserError
from taskaware.evaluation.evaluate import evaluate
from taskaware.inference.data_fit import require_tasks
from taskaware.inference.model import TaskAwareModel
from taskaware.inference.source_encoder import source_encoder
from taskaware.model.conditioning_settings import ConditioningSettings
from taskaware.model.create_model import create_model
from taskaware.model.parameters import speech_encoder_tensors
from taskaware.model.settings import ModelSettings
from taskaware.run.train import train_experiment
from taskaware.training.joint import transformed_loss
from taskaware.training.settings import ObjectiveSettings
from tiny_corpus import (
    Silent,
    assert_same_models,
    figures,
    interrupt_in,
    tiny_experiment,
    write_corpus,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from taskaware.data.prepare.encoding import SourceEncoder
    from taskaware.run.experiment import Experiment
    from taskaware.training.settings import Trains
    from tiny_corpus import BatchingChanges

SETTINGS = ModelSettings(
    d_model=16,
    num_heads=2,
    d_ff=32,
    num_encoder_layers=2,
    num_decoder_layers=1,
    dropout=0.0,
    attention_dropout=0.0,
    relu_dropout=0.0,
    frontend="conv1d",
    num_cnn_layers=2,
    cnn_channels=16,
    cnn_strides=(1, 2),
    cnn_activation="gelu",
    source_positions="learnt",
    num_source_positions=100,
    conditioning=ConditioningSettings(cue="none"),
)
PADDED = FeatureSettings(kind="whisper", padded_seconds=2.0)


def model_for(data: PreparedData, *, features: FeatureSettings = PADDED, seed: int = 0, **changes):
    """Return a model of random weights for the data's tasks."""
    torch.manual_seed(seed)
    settings = replace(SETTINGS, **changes)
    network = create_model(settings, vocabulary_size=data.vocabulary.size, tasks=data.tasks)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return TaskAwareModel(
        transformer=network.eval(),
        settings=settings,
        tasks=data.tasks,
        vocabulary=data.vocabulary,
        feature_settings=features,
        decoding=DecodingSettings(beam=2, extra_pieces=4),
    )


class Place:
    """A corpus, its features, a model for them, and what the model's encoder makes of them."""

    def __init__(self, folder: Path) -> None:
        self.manifests = {split: [path] for split, path in write_corpus(folder).items()}
        settings = PrepareSettings(vocabulary_size=300, num_workers=1, features=PADDED)
        prepare(self.manifests, folder / "features", settings)
        self.features = PreparedData.open(folder / "features")
        self.model = folder / "model"
        model_for(self.features).save(self.model)
        self.vocabulary = self.model / "vocabulary.model"
        options = [w for s, (path,) in self.manifests.items() for w in (f"--{s}", str(path))]
        wanted = ["--encoder", str(self.model), "--vocabulary", str(self.vocabulary)]
        assert run(["prepare", *options, *wanted, "--to", str(folder / "encoded")]) == 0
        self.encoded = PreparedData.open(folder / "encoded")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("corpus"))


def experiment_on(data: PreparedData, place: Place, **changes) -> Experiment:
    wanted = {"start": place.model, "trains": "decoder", "batching": {"strategy": "static"}}
    found = tiny_experiment(Path(data.folder), **(wanted | changes))  # type: ignore[arg-type]
    return replace(found, model=replace(SETTINGS, conditioning=ConditioningSettings(cue="none")))


def trained(experiment: Experiment, folder: Path) -> TaskAwareModel:
    assert train_experiment(experiment, folder, display=Silent())
    return taskaware.load(folder, device="cpu")


def losses(folder: Path) -> list[float]:
    lines = [line for line in figures(folder) if line["kind"] == "progress"]
    return [loss for line in lines for loss in line["losses"].values()]


def batch_of(data: PreparedData, rows: Sequence[NDArray], *, is_encoded: bool):
    """Return the first speech examples of train with these sources."""
    task, split = data.task("asr_en"), data.split("train")
    targets = [split.target(int(i)) for i in split.indices(task.name)[: len(rows)]]
    return collate(task, rows, targets, cue=TextCue(), is_encoded=is_encoded)


@pytest.mark.parametrize("kind", ["padded to one length", "of several lengths"])
def test_the_loss_and_its_gradient_are_bitwise_those_of_the_encoder_at_work(
    place: Place, kind: str
):
    model = model_for(place.features)
    random = np.random.default_rng(0)
    sizes = [200] * 3 if kind == "padded to one length" else [200, 111, 37]
    rows = [random.standard_normal((size, 80)).astype(np.float32) for size in sizes]
    outputs = source_encoder(model, name="model").encode(rows)
    assert [len(output) for output in outputs] == [(size + 1) // 2 for size in sizes]

    def gradient(batch) -> tuple[torch.Tensor, list[torch.Tensor]]:
        model.transformer.zero_grad()
        found = transformed_loss(
            model.transformer,
            batch,
            model.transformer.preprocess(batch),
            None,
            objective=ObjectiveSettings(ctc_weight=0.3),
        )
        found.total.backward()
        parts = [*model.transformer.decoder.parameters(), model.transformer.token_embedding.weight]
        return found.total.detach(), [part.grad.clone() for part in parts if part.grad is not None]

    loss, wanted = gradient(batch_of(place.features, rows, is_encoded=False))
    cached, found = gradient(batch_of(place.features, outputs, is_encoded=True))
    assert torch.equal(loss, cached)
    assert len(wanted) == len(found) > 10
    for one, other in zip(wanted, found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-7)


def test_a_run_on_encoder_outputs_is_the_run_on_features_with_the_encoder_frozen(
    place: Place, tmp_path: Path
):
    start = taskaware.load(place.model, device="cpu")
    of_features = trained(experiment_on(place.features, place), tmp_path / "features")
    of_outputs = trained(experiment_on(place.encoded, place), tmp_path / "outputs")
    assert len(losses(tmp_path / "outputs")) == 18
    np.testing.assert_allclose(
        losses(tmp_path / "outputs"), losses(tmp_path / "features"), rtol=1e-3
    )
    wanted, found = of_features.transformer.state_dict(), of_outputs.transformer.state_dict()
    before = start.transformer.state_dict()
    frozen = speech_encoder_tensors(start.transformer)
    assert len(frozen) > 20
    for name, value in found.items():
        torch.testing.assert_close(value, wanted[name], rtol=0.0, atol=5e-3)
        assert torch.equal(value, before[name]) == (name in frozen)


def test_the_finished_model_hears_recordings_and_evaluates_on_both_kinds_of_data(
    place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    experiment = experiment_on(place.encoded, place, selection="score")
    model = trained(experiment, tmp_path / "run")
    tasks = [task for task in model.tasks if task.modality.is_recording]
    texts, scores = [], []
    for data in (place.features, place.encoded):
        assert require_tasks(model, data) == list(model.tasks)
        results = evaluate(model, data.split("test"), tasks)
        texts.append([output.text for result in results for output in result.outputs])
        scores.append([output.score for result in results for output in result.outputs])
    assert texts[0] == texts[1]
    np.testing.assert_allclose(scores[0], scores[1], rtol=1e-3)
    assert len(set(scores[0])) > 1
    recording = place.manifests["test"][0].parent / "test0.wav"
    assert model.run("asr_en", recording) in texts[1]
    assert model.longest_sources == taskaware.load(tmp_path / "run").longest_sources
    assert model.longest_sources["asr_en"] == 200  # frames, as features have
    assert run(["evaluate", str(tmp_path / "run"), "--data", str(place.encoded.folder)]) == 0
    assert "asr_en" in capsys.readouterr().out


def test_an_interrupted_run_goes_on_to_the_same_weights(place: Place, tmp_path: Path):
    experiment = experiment_on(place.encoded, place)
    trained(experiment, tmp_path / "whole")
    assert not train_experiment(experiment, tmp_path / "parts", display=interrupt_in(4))
    trained(experiment, tmp_path / "parts")
    assert_same_models(tmp_path / "whole", tmp_path / "parts")


def test_an_implicit_task_network_may_read_encoder_outputs(place: Place, tmp_path: Path):
    """Trained on them, or on features by the same encoder, and told tasks by both afterwards."""
    conditioning = ConditioningSettings(
        cue="implicit", implicit_reads="encoded", film_on="decoder", d_task=8, d_task_ff=8
    )
    model = replace(SETTINGS, conditioning=conditioning)
    losses_of, embeddings = [], []
    for data in (place.features, place.encoded):
        folder = tmp_path / Path(data.folder).name
        found = trained(replace(experiment_on(data, place), model=model), folder)
        losses_of.append(losses(folder))
        embeddings.append(found.task_embeddings)
    np.testing.assert_allclose(losses_of[1], losses_of[0], rtol=1e-3)
    for name, embedding in embeddings[1].items():
        torch.testing.assert_close(embedding, embeddings[0][name], rtol=0.0, atol=5e-3)
    one, other = list(embeddings[1].values())[:2]
    assert not torch.equal(one, other)
    recording = place.manifests["test"][0].parent / "test0.wav"
    assert taskaware.load(tmp_path / "encoded").run("asr_en", recording) is not None


@pytest.mark.parametrize("trains", ["task_network", "task_embedding"])
def test_a_task_network_that_acts_on_the_decoder_alone_is_trained_on_encoder_outputs(
    place: Place, tmp_path: Path, trains: Trains
):
    conditioning = ConditioningSettings(cue="explicit", film_on="decoder", film_scope="per_block")
    model = replace(SETTINGS, conditioning=conditioning)
    found = []
    for data in (place.features, place.encoded):
        experiment = replace(experiment_on(data, place, trains=trains), model=model)
        trained(experiment, tmp_path / Path(data.folder).name)
        found.append(losses(tmp_path / Path(data.folder).name))
    np.testing.assert_allclose(found[1], found[0], rtol=1e-3)
    assert found[1][-1] != found[1][2]  # it does learn


def test_one_batch_may_hold_encoder_outputs_of_several_tasks(place: Place, tmp_path: Path):
    mixed: BatchingChanges = {"strategy": "static", "mix": "within_batches"}
    found = []
    for data in (place.features, place.encoded):
        experiment = experiment_on(data, place, batching=mixed)
        trained(experiment, tmp_path / Path(data.folder).name)
        found.append(losses(tmp_path / Path(data.folder).name))
    np.testing.assert_allclose(found[1], found[0], rtol=1e-3)


# --- preparing ---


def counting(encoder: SourceEncoder, batches: list[list[int]], *, limit: int = 1_000):
    """Return the encoder with the lengths of its batches noted; it fails after ``limit`` calls."""

    def encode(rows: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        if len(batches) == limit:
            raise KeyboardInterrupt
        batches.append([len(row) for row in rows])
        return encoder.encode(rows)

    return replace(encoder, encode=encode)


def by_task(place: Place, folder: Path) -> dict[str, list[Path]]:
    """Return manifests in which the lines of a recording are far apart."""
    lines = place.manifests["train"][0].read_text().splitlines()
    audio = place.manifests["train"][0].parent
    lines = [line.replace("train", f"{audio}/train", 1) for line in lines]
    path = folder / "train.tsv"
    ordered = [lines[0], *sorted(lines[1:])]
    path.write_text("\n".join(ordered) + "\n")
    return {"train": [path]}


def test_a_recording_of_several_tasks_is_encoded_and_stored_once_wherever_its_lines_stand(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(encoding, "RECORDINGS_PER_CHUNK", 3)
    batches: list[list[int]] = []
    encoder = counting(source_encoder(taskaware.load(place.model), name="model"), batches)
    seen: list[tuple[str, int, int]] = []
    report = prepare(
        by_task(place, tmp_path),
        tmp_path / "data",
        PrepareSettings(features=PADDED, num_workers=1),
        vocabulary=place.vocabulary,
        encoder=encoder,
        progress=lambda *what: seen.append(what),
    )
    assert report.splits["train"].examples == {"asr_en": 16, "mt_en_de": 16, "st_en_de": 16}
    assert sum(len(batch) for batch in batches) == 16
    assert report.splits["train"].num_frames == 16 * 100
    assert report.splits["train"].hours == pytest.approx(16 * 2 / 3600)
    assert ("encoder outputs of train", 6, 32) in seen
    data = PreparedData.open(tmp_path / "data")
    assert data.encoder is not None
    assert (data.encoder.width, data.encoder.frames_per_position, data.hop_ms) == (16, 2, 20.0)
    split = data.split("train")
    first = {split.example(int(i)).utterance: int(i) for i in split.indices("asr_en")}
    for i in split.indices("st_en_de"):
        same = split.source(first[split.example(int(i)).utterance])
        np.testing.assert_array_equal(split.source(int(i)), same)


def test_only_valid_positions_are_stored_and_batches_are_of_similar_length(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(encoding, "_FRAMES_TOGETHER", 300)
    features = FeatureSettings()
    model = model_for(place.features, features=features, frontend="conv2d", cnn_strides=())
    batches: list[list[int]] = []
    encoder = counting(source_encoder(model, name="model"), batches)
    settings = PrepareSettings(features=features, num_workers=1)
    given = {"vocabulary": place.vocabulary, "encoder": encoder}
    prepare(by_task(place, tmp_path), tmp_path / "data", settings, **given)
    assert all(len(batch) * max(batch) <= 300 for batch in batches)
    assert [max(batch) for batch in batches] == sorted(max(batch) for batch in batches)
    assert len({length for batch in batches for length in batch}) > 1
    split = PreparedData.open(tmp_path / "data").split("train")
    for i in split.indices("asr_en"):
        found = model.read_source(split.example(int(i)).speech or "", "speech").array
        (alone,) = encoder.encode([found])
        np.testing.assert_allclose(split.source(int(i)), alone, rtol=2e-3, atol=2e-3)


def test_an_encoder_in_bfloat16_says_so_rounds_and_is_another_preparation(
    place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    options = ["--test", str(place.manifests["test"][0]), "--encoder", str(place.model)]
    to = ["--to", str(tmp_path / "data")]
    assert run(["prepare", *options, *to, "--encoder-precision", "bfloat16"]) == 0
    rounded = PreparedData.open(tmp_path / "data")
    assert rounded.encoder is not None
    assert rounded.encoder.precision == "bfloat16"
    assert place.encoded.encoder == replace(rounded.encoder, precision="float32")
    splits = [rounded.split("test"), place.encoded.split("test")]
    found, exact = ([s.source(int(i)) for i in s.indices("asr_en")] for s in splits)
    differences = [float(np.abs(a - b).max()) for a, b in zip(found, exact, strict=True)]
    assert 1e-4 < max(differences) < 0.2  # of outputs of a layer norm
    assert run(["prepare", *options, *to, "--encoder-precision", "bfloat16"]) == 0
    assert "complete already" in capsys.readouterr().out
    assert run(["prepare", *options, *to]) == 0
    assert PreparedData.open(tmp_path / "data").encoder == place.encoded.encoder


def test_a_precision_without_an_encoder_is_refused(
    place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    manifest = str(place.manifests["test"][0])
    to = ["--to", str(tmp_path / "data"), "--encoder-precision", "bfloat16"]
    assert run(["prepare", "--test", manifest, *to]) == 2
    assert "--encoder MODEL" in capsys.readouterr().err


def test_a_preparation_that_was_broken_off_goes_on_to_the_same_folder(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(encoding, "RECORDINGS_PER_CHUNK", 3)
    encoder = source_encoder(taskaware.load(place.model), name="model")
    settings = PrepareSettings(features=PADDED, num_workers=1)
    settings = replace(settings, shards=replace(settings.shards, examples=6))
    manifests = by_task(place, tmp_path)

    def made(name: str, encoder: SourceEncoder) -> str:
        given = {"vocabulary": place.vocabulary, "encoder": encoder}
        prepare(manifests, tmp_path / name, settings, **given)
        return PreparedData.open(tmp_path / name).fingerprint

    before: list[list[int]] = []
    with pytest.raises(KeyboardInterrupt):
        made("parts", counting(encoder, before, limit=3))
    after: list[list[int]] = []
    whole = made("whole", encoder)
    assert made("parts", counting(encoder, after)) == whole
    assert sum(map(len, before)) + sum(map(len, after)) == 16
    again: list[list[int]] = []
    assert made("parts", counting(encoder, again)) == whole
    assert again == []  # complete already
    other = model_for(place.features, seed=1)
    assert made("parts", source_encoder(other, name="other")) != whole


def test_a_recording_longer_than_the_encoder_hears_is_left_out_and_listed(
    place: Place, tmp_path: Path
):
    features = FeatureSettings(kind="whisper", padded_seconds=0.0)
    model = model_for(place.features, features=features, num_source_positions=40)  # 80 frames
    report = prepare(
        place.manifests,
        tmp_path / "data",
        PrepareSettings(features=features, num_workers=1, max_bad_share=1.0),
        vocabulary=place.vocabulary,
        encoder=source_encoder(model, name="model"),
    )
    assert report.splits["train"].examples["asr_en"] < 16
    kept = PreparedData.open(tmp_path / "data").split("train")
    assert len({len(kept.source(int(i))) for i in kept.indices("asr_en")}) > 1
    assert max(len(kept.source(int(i))) for i in kept.indices("asr_en")) == 40
    listed = (tmp_path / "data" / "report.tsv").read_text().splitlines()[1:]
    wanted = "must last at most 0.8 s, as the model hears no more at once, but lasts 1.20 s"
    assert len(listed) >= 2
    assert {line.split("\t")[4] for line in listed} == {"audio"}
    assert all(wanted in line for line in listed)


# --- what is refused ---


def test_a_run_is_refused_where_the_encoders_outputs_would_not_stay_the_same(
    place: Place, tmp_path: Path
):
    def refused(experiment: Experiment, wanted: str, error: type[Exception] = ExperimentError):
        with pytest.raises(error, match=wanted):
            train_experiment(experiment, tmp_path / "run", display=Silent())
        assert not (tmp_path / "run").exists()

    good = experiment_on(place.encoded, place)
    refused(experiment_on(place.encoded, place, start=None, trains="everything"), "start.model")
    for trains in ("everything", "task_network_and_norms"):
        wanted = f"'decoder', 'bridge', .*'task_network', .*'adapters'.*but is '{trains}'"
        refused(experiment_on(place.encoded, place, trains=trains), wanted)
    implicit, explicit = ConditioningSettings(cue="implicit"), ConditioningSettings(cue="explicit")
    for conditioning, wanted in ((implicit, "implicit_reads"), (explicit, "film_on. must be")):
        refused(replace(good, model=replace(SETTINGS, conditioning=conditioning)), wanted)
    masks = AugmentationSettings(num_time_masks=1, max_time_mask_frames=2)
    for augmentation in (AugmentationSettings(share=1.0), masks):
        refused(replace(good, augmentation=augmentation), "augmentation")
    other = tmp_path / "other"
    model_for(place.features, seed=1).save(other)
    refused(
        experiment_on(place.encoded, place, start=other),
        f"must hold outputs of the encoder of .*other, but holds those of .*{place.model.name}",
        DataError,
    )
    hears_other = replace(PADDED, padded_seconds=PADDED.padded_seconds / 2)
    model_for(place.features, features=hears_other).save(tmp_path / "hears")
    refused(
        experiment_on(place.encoded, place, start=tmp_path / "hears"),
        f"padded_seconds .*, as the encoder of .*{place.model.name} has: .*with `--encoder`",
        DataError,
    )


def test_another_encoder_other_features_or_other_heads_are_another_digest(place: Place):
    model = model_for(place.features)

    def digest(model: TaskAwareModel) -> str:
        return source_encoder(model, name="model").record.sha256

    assert digest(model) == digest(model_for(place.features, dropout=0.3))  # only for training
    with torch.no_grad():
        model.transformer.decoder[0].feed_forward.expand.weight.add_(1.0)  # type: ignore[union-attr]
    assert digest(model) == digest(model_for(place.features))
    others = [model_for(place.features, seed=1), model_for(place.features, num_heads=4)]
    others += [model_for(place.features, activation="gelu")]
    others += [model_for(place.features, features=replace(PADDED, padded_seconds=1.0))]
    assert len({digest(one) for one in (model, *others)}) == 5


def test_evaluating_a_model_on_the_outputs_of_another_encoder_is_refused(place: Place):
    with pytest.raises(DataError, match="must hold outputs of the encoder of the model"):
        require_tasks(model_for(place.features, seed=1), place.encoded)
    texts = [task.name for task in place.encoded.tasks if task.modality.is_text]
    assert require_tasks(model_for(place.features, seed=1), place.encoded, tuple(texts))


def test_what_cannot_be_prepared_is_refused_by_name(place: Place, tmp_path: Path):
    encoder = source_encoder(taskaware.load(place.model), name="model")
    settings = PrepareSettings(features=PADDED, num_workers=1)

    def refused(wanted: str, settings: PrepareSettings = settings, manifests=place.manifests):
        given = {"vocabulary": place.vocabulary, "encoder": encoder}
        with pytest.raises(UserError, match=wanted):
            prepare(manifests, tmp_path / "data", settings, **given)

    refused("must be 'features'", replace(settings, store="audio"))
    refused("that the encoder of model hears", replace(settings, features=FeatureSettings()))
    text = tmp_path / "texts.tsv"
    text.write_text("task\tsource_text\ttarget_text\nmt_en_de\tone\teins\n")
    refused("must have recordings", manifests={"train": [text]})
    implicit = model_for(place.features, conditioning=ConditioningSettings(cue="implicit"))
    with pytest.raises(CheckpointError, match="must put out the same for all tasks"):
        source_encoder(implicit, name="model")
    deaf = model_for(place.features)
    deaf.tasks = tuple(task for task in deaf.tasks if task.modality.is_text)
    with pytest.raises(CheckpointError, match="must have a task for speech"):
        source_encoder(deaf, name="model")
