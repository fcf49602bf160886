"""The speech encoder of one pretrained model with the text decoder of another, and its training."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import pytest
import torch

import taskaware
from taskaware.cli.main import run
from taskaware.data.prepared.folder import PreparedData
from taskaware.errors import CheckpointError
from taskaware.inference.source_encoder import source_encoder
from taskaware.model.settings import ModelSettings
from taskaware.model.states import Encoded
from taskaware.pretrained.importing import import_joined, import_model
from taskaware.run.experiment import load
from taskaware.run.train import train_experiment
from tiny_corpus import Silent, figures, write_corpus
from tiny_translators import m2m100, marian
from tiny_whisper import save_whisper

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from taskaware.inference.model import TaskAwareModel

pytestmark = [
    pytest.mark.filterwarnings("ignore:Recommended. pip install sacremoses"),
    pytest.mark.filterwarnings("ignore::taskaware.errors.SourceWarning"),
]
DECODERS = {"marian": marian, "m2m100": m2m100}


class Folders:
    """Pretrained models in Hugging Face's layout; one Whisper is of another width."""

    def __init__(self, folder: Path) -> None:
        self.narrow, self.wide = folder / "narrow", folder / "wide"
        save_whisper(self.narrow)
        save_whisper(self.wide, d_model=24)
        self.decoders = {name: folder / name for name in DECODERS}
        for name, make in DECODERS.items():
            self.decoders[name].mkdir()
            make(self.decoders[name])


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    return Folders(tmp_path_factory.mktemp("pretrained"))


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("encoder", ["narrow", "wide"])
def test_it_hears_as_the_one_and_writes_as_the_other(folders: Folders, encoder: str, decoder: str):
    whisper, translator = getattr(folders, encoder), folders.decoders[decoder]
    joined = import_joined(whisper, translator, tasks=["st_en_de"]).transformer
    hearing = import_model(whisper).transformer
    writing = import_model(translator, tasks=["mt_en_de"]).transformer
    frames, lengths = torch.randn(2, 200, 80), torch.tensor([200, 90])
    source, positions = joined.preprocess_source(frames, lengths, "speech")
    sequence, _ = hearing.preprocess_source(frames, lengths, "speech")
    wanted = hearing.encode(sequence, positions, None)
    found, still = joined.run_encoder(source, positions)
    torch.testing.assert_close(found, wanted.memory_BSD, rtol=0.0, atol=0.0)
    encoded = joined.encode(source, positions, None)
    assert encoded.memory_BSD.shape == (2, 25, 16)  # 100 positions, halved twice
    assert encoded.mask_BS.sum(dim=1).tolist() == [25, 12]
    assert still.tolist() == positions.tolist()
    pieces = torch.randint(3, 25, (2, 7))
    given = Encoded(torch.randn(2, 9, 16), torch.ones(2, 9, dtype=torch.bool), None, None)
    long = torch.tensor([7, 7])
    states = [m.decode(m.token_embedding.embed(pieces), long, given) for m in (joined, writing)]
    torch.testing.assert_close(states[0], states[1], rtol=0.0, atol=0.0)
    logits = [m.token_embedding.logits(s) for m, s in zip((joined, writing), states, strict=True)]
    torch.testing.assert_close(logits[0], logits[1], rtol=0.0, atol=0.0)


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("encoder", ["narrow", "wide"])
def test_texts_are_translated_as_by_the_model_whose_decoder_it_has(
    folders: Folders, encoder: str, decoder: str
):
    whisper, translator = getattr(folders, encoder), folders.decoders[decoder]
    joined = import_joined(whisper, translator, tasks=["st_en_de", "mt_en_de"])
    alone = import_model(translator, tasks=["mt_en_de"])
    assert joined.settings.num_text_encoder_layers == alone.settings.num_encoder_layers
    texts = ["the red house", "a dog"]
    found = [
        model.decode(
            model.task("mt_en_de"), [model.read_source(text, "text").array for text in texts]
        )
        for model in (joined, alone)
    ]
    assert found[0] == found[1]
    frames, lengths = torch.randn(2, 200, 80), torch.tensor([200, 90])
    plain = import_joined(whisper, translator, tasks=["st_en_de"]).transformer
    states = [
        m.start_decoding(frames, lengths, "speech", None) for m in (joined.transformer, plain)
    ]
    assert torch.equal(states[0].memory_BSD, states[1].memory_BSD)


def test_texts_of_a_model_without_scaled_embeddings_enter_their_own_encoder_as_they_are(
    folders: Folders, tmp_path: Path
):
    translator = tmp_path / "marian"
    shutil.copytree(folders.decoders["marian"], translator)
    config = json.loads((translator / "config.json").read_text())
    (translator / "config.json").write_text(json.dumps(config | {"scale_embedding": False}))
    joined = import_joined(folders.narrow, translator, tasks=["st_en_de", "mt_en_de"])
    alone = import_model(translator, tasks=["mt_en_de"])
    assert not alone.settings.embedding_scale
    memories = []
    for model in (joined, alone):
        text = torch.tensor(model.read_source("the red house", "text").array)[None]
        length = torch.tensor([text.shape[1]])
        memories.append(model.transformer.start_decoding(text, length, "text", None).memory_BSD)
    assert torch.equal(*memories)


def test_more_padding_never_changes_a_valid_position_behind_the_bridge(folders: Folders):
    joined = import_joined(folders.narrow, folders.decoders["marian"]).transformer
    memory, lengths = torch.randn(2, 41, 16), torch.tensor([41, 20])
    assert joined.bridge is not None
    adapted, left = joined.bridge(memory, lengths)
    more, same = joined.bridge(torch.cat([memory, 9.0 * torch.ones(2, 7, 16)], dim=1), lengths)
    assert left.tolist() == same.tolist() == [11, 5]
    for row, length in enumerate(left):
        torch.testing.assert_close(more[row, :length], adapted[row, :length])


def test_two_imports_are_equal_and_leave_random_numbers_as_they_are(folders: Folders):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first, second = (import_joined(folders.wide, folders.decoders["marian"]) for _ in range(2))
    torch.set_rng_state(before)
    for one, other in zip(weights(first).values(), weights(second).values(), strict=True):
        assert torch.equal(one, other)
    assert first.tasks[0].name == "st_en_de"  # what the decoder's folder says


def weights(model: TaskAwareModel) -> dict[str, Tensor]:
    return dict(model.transformer.state_dict())


class Place:
    """A joined model and a corpus prepared for it, as features and as its encoder's outputs."""

    def __init__(self, folders: Folders, folder: Path) -> None:
        self.joined, self.whisper = folder / "joined", folder / "whisper"
        self.folder = folder
        wanted = ["--decoder-of", str(folders.decoders["marian"]), "--to", str(self.joined)]
        assert run(["import", str(folders.wide), *wanted]) == 0
        assert run(["import", str(folders.wide), "--to", str(self.whisper)]) == 0
        corpus = write_corpus(folder)
        given = [word for split, path in corpus.items() for word in (f"--{split}", str(path))]
        given += ["--vocabulary", str(self.joined / "vocabulary.model")]
        features = ["features.kind=whisper", "features.padded_seconds=2"]
        assert run(["prepare", *given, *features, "--to", str(folder / "features")]) == 0
        # The encoder is Whisper's own: its outputs serve every model that is joined to it.
        encoder = ["--encoder", str(self.whisper)]
        assert run(["prepare", *given, *encoder, "--to", str(folder / "encoded")]) == 0


@pytest.fixture(scope="module")
def place(folders: Folders, tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(folders, tmp_path_factory.mktemp("joined"))


def trained(place: Place, data: Literal["features", "encoded"], to: Path, trains: str):
    path = place.folder / "experiment.toml"
    path.write_text(
        f'name = "joined"\n[data]\nfolder = "{place.folder / data}"\ntasks = ["st_en_de"]\n'
        f'[start]\nmodel = "{place.joined}"\ntrains = "{trains}"\n'
        "[model]\ndropout = 0.0\nattention_dropout = 0.0\nrelu_dropout = 0.0\n"
        '[batching]\nstrategy = "static"\nexamples_per_batch = 4\n'
        '[optimiser]\nschedule = "linear"\nlearning_rate = 1e-2\nwarmup_updates = 2\n'
        '[training]\nupdates = 6\nlog_every = 1\nprecision = "float32"\nnum_threads = 1\n'
    )
    assert train_experiment(load(path, from_start=True), to, display=Silent())
    return taskaware.load(to, device="cpu")


def test_the_bridge_and_the_attention_to_it_are_trained_from_features_or_encoder_outputs(
    place: Place, tmp_path: Path
):
    before = weights(taskaware.load(place.joined, device="cpu"))
    models = [
        trained(place, "features", tmp_path / "features", "bridge"),
        trained(place, "encoded", tmp_path / "encoded", "bridge"),
    ]
    parts = ("bridge.", *(f"decoder.{i}.{part}" for i in (0, 1) for part in ("cross_", "around_c")))
    for model in models:
        changed = {name for name, v in weights(model).items() if not torch.equal(v, before[name])}
        assert changed == {name for name in before if name.startswith(parts)}
    losses = [
        [
            line["losses"]["st_en_de"]
            for line in figures(tmp_path / name)
            if line["kind"] == "progress"
        ]
        for name in ("features", "encoded")
    ]
    assert len(losses[0]) >= 6
    np.testing.assert_allclose(losses[1][:6], losses[0][:6], rtol=1e-3)
    assert losses[0][5] < losses[0][0]
    recording = place.folder / "test0.wav"
    assert run(["predict", str(tmp_path / "encoded"), str(recording)]) == 0
    assert models[0].settings.bridge.num_layers == 2
    assert models[0].settings.encoder.d_model == 24


def test_training_the_decoder_trains_the_bridge_to_it(place: Place, tmp_path: Path):
    before = weights(taskaware.load(place.joined, device="cpu"))
    after = weights(trained(place, "encoded", tmp_path / "run", "decoder"))
    for name, value in after.items():
        is_of_encoder = name.startswith(("frontends.", "encoder", "source_positions."))
        assert torch.equal(value, before[name]) == is_of_encoder, name


def test_the_joined_encoder_is_known_as_that_of_the_model_it_comes_from(place: Place):
    encoders = [
        source_encoder(taskaware.load(folder, device="cpu"), name="model")
        for folder in (place.joined, place.whisper)
    ]
    assert encoders[0].record == encoders[1].record
    assert encoders[0].record.width == 24
    assert PreparedData.open(place.folder / "encoded").encoder is not None


@pytest.mark.parametrize(
    ("options", "wanted", "code"),
    [
        (["{marian}", "--decoder-of", "{narrow}"], "must hear recordings", 2),
        (["{narrow}", "--decoder-of", "{m2m100}"], "--tasks st_en_de", 2),
        (
            ["{narrow}", "--decoder-of", "{m2m100}", "--tasks", "mt_en_de"],
            "must have a task for speech",
            2,
        ),
        (
            ["{narrow}", "--decoder-of", "{wide}", "--tasks", "st_en_de,mt_en_de"],
            "must read texts where a task has a text source",
            2,
        ),
        (["{narrow}", "--decoder-of", "{marian}", "--tasks", "st_en_de,asr_en"], "told apart", 2),
        (["{narrow}", "--bridge-layers", "1"], "needs --decoder-of", 2),
        (["{narrow}", "--decoder-of", "nowhere"], "Hugging Face's layout", 1),
    ],
    ids=str,
)
def test_what_cannot_be_joined_is_refused(
    folders: Folders,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    wanted: str,
    code: int,
):
    names = {"narrow": folders.narrow, "wide": folders.wide, **folders.decoders}
    words = [word.format(**names) for word in options]
    assert run(["import", *words, "--to", str(tmp_path / "model")]) == code
    assert wanted in capsys.readouterr().err
    assert not (tmp_path / "model").exists()


def test_settings_that_do_not_fit_together_are_refused_by_field():
    def problems(**changes) -> str:
        settings = ModelSettings(d_model=16, num_heads=2)
        return "; ".join(f"{n} {m}" for n, m in replace(settings, **changes).validate())

    wide = replace(ModelSettings().encoder, d_model=24)
    bridge = replace(ModelSettings().bridge, num_layers=1)
    assert "bridge must have `num_layers` 1 or more" in problems(encoder=wide)
    assert "conditioning must have `film_on` 'decoder'" in problems(encoder=wide, bridge=bridge)
    told = replace(ModelSettings().conditioning, cue="explicit", film_on="decoder")
    assert problems(encoder=wide, bridge=bridge, conditioning=told) == ""
    odd = replace(wide, d_model=25)
    assert "encoder must have a `d_model`" in problems(encoder=odd, bridge=bridge)


def test_a_start_without_a_bridge_has_none_to_train(
    place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path = tmp_path / "experiment.toml"
    path.write_text(
        f'name = "none"\n[data]\nfolder = "{place.folder / "features"}"\n'
        f'[start]\nmodel = "{place.whisper}"\ntrains = "bridge"\n'
    )
    assert run(["train", str(path), "--to", str(tmp_path / "run")]) == 2
    assert "must not train the bridge where there is none" in capsys.readouterr().err


def test_a_task_with_a_text_source_is_refused(place: Place):
    model = taskaware.load(place.joined, device="cpu")
    text = replace(model.tasks[0], name="mt_en_de", source_modality="text")
    model.tasks = (*model.tasks, text)
    model.save(place.folder / "texts")
    with pytest.raises(CheckpointError, match="must have an encoder of texts"):
        taskaware.load(place.folder / "texts")


def test_a_whisper_gets_an_encoder_of_texts_beside_its_own_from_its_outputs(
    place: Place, folders: Folders, tmp_path: Path
):
    """Speech from computed outputs, texts by new blocks: what Whisper knew stays bit for bit."""
    corpus = write_corpus(tmp_path)
    given = [word for split, path in corpus.items() for word in (f"--{split}", str(path))]
    data = tmp_path / "data"
    assert run(["prepare", *given, "--encoder", str(place.whisper), "--to", str(data)]) == 0
    path = tmp_path / "experiment.toml"
    path.write_text(
        f'name = "texts"\n[data]\nfolder = "{data}"\ntasks = ["st_en_de", "mt_en_de"]\n'
        f'[start]\nmodel = "{place.whisper}"\ntrains = "task_network"\n'
        "[model]\nnum_text_encoder_layers = 2\ndropout = 0.0\n"
        '[model.conditioning]\ncue = "explicit"\nfilm_on = "decoder"\n'
        '[batching]\nstrategy = "static"\nexamples_per_batch = 4\n'
        '[training]\nupdates = 3\nprecision = "float32"\nnum_threads = 1\n'
    )
    assert train_experiment(load(path, from_start=True), tmp_path / "run", display=Silent())
    model = taskaware.load(tmp_path / "run", device="cpu")
    before, after = weights(taskaware.load(place.whisper, device="cpu")), weights(model)
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert any(name.startswith("text_encoder.") for name in after)
    # Three updates have hardly moved the entrance from what gives embedded pieces mean 0, size 1.
    pieces, entrance = before["token_embedding.weight"], model.transformer.text_encoder.entrance
    assert float(pieces.square().mean()) < 0.1
    entered = entrance(pieces[None]).detach()
    assert float(entered.mean(dim=1).abs().max()) < 0.1
    assert float(entered.square().mean()) == pytest.approx(1, abs=0.05)
    assert run(["evaluate", str(tmp_path / "run"), "--data", str(data), "--split", "test"]) == 0
    assert model.run("mt_en_de", "the red house") is not None
