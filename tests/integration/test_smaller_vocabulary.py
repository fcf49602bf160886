"""``taskaware import --pieces-of``: the model of the pieces that data need is the same model."""

from __future__ import annotations

import copy
import warnings
from typing import TYPE_CHECKING, cast

import numpy as np
import pytest
import torch

import taskaware
from taskaware.cli.main import run
from taskaware.data.batches.batching import collate
from taskaware.decoding.settings import with_beam
from taskaware.pretrained.cutting import cut_vocabulary
from tiny_corpus import write_corpus
from tiny_translators import GERMAN, m2m100, marian
from tiny_whisper import SECONDS, save_whisper

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from taskaware.inference.model import TaskAwareModel
    from taskaware.model.layers import DecoderLayer

pytestmark = pytest.mark.filterwarnings("ignore::taskaware.errors.SourceWarning")
TEXTS = ["the red house", "the green one is near"]


@pytest.fixture(scope="module")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_whisper(tmp_path_factory.mktemp("theirs"))


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("texts") / "texts.txt"
    path.write_text("\n".join(TEXTS) + "\n", encoding="utf-8")
    return path


def imported(folder: Path, to: Path, *options: str) -> TaskAwareModel:
    assert run(["import", str(folder), "--to", str(to), *options]) == 0
    return taskaware.load(to, device="cpu")


def new_ids(whole: TaskAwareModel, smaller: TaskAwareModel) -> dict[int, int]:
    """The ids of the pieces that were kept, by those they had."""
    names = whole.vocabulary.pieces(range(whole.vocabulary.size))
    old_ids = {name: i for i, name in enumerate(names)}
    kept = smaller.vocabulary.pieces(range(smaller.vocabulary.size))
    return {old_ids[name]: new for new, name in enumerate(kept)}


@pytest.fixture(scope="module")
def both(
    whisper: Path, texts: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[TaskAwareModel, TaskAwareModel]:
    folder = tmp_path_factory.mktemp("ours")
    tasks = ["--tasks", "asr_en,st_de_en"]
    whole = imported(whisper, folder / "whole", *tasks)
    return whole, imported(whisper, folder / "smaller", *tasks, "--pieces-of", str(texts))


def recordings(number: int) -> list[np.ndarray]:
    time = np.arange(9_600) / 16_000
    random = np.random.default_rng(0)
    return [
        (0.3 * np.sin(2 * np.pi * pitch * time * (1 + time))).astype(np.float32)
        for pitch in random.uniform(100, 3_000, number)
    ]


def logits(model: TaskAwareModel, task: str, waveform: np.ndarray, text: str) -> Tensor:
    source = model.read_source(waveform, "speech").array
    target = np.array(model.vocabulary.encode(text))
    batch = collate(model.task(task), [source], [target], cue=model.cue(model.task(task)))
    with torch.no_grad():
        return model.transformer(batch, None)[0]


@pytest.mark.parametrize("task", ["asr_en", "st_de_en"])
def test_logits_of_the_pieces_that_stay_are_the_whole_models(both, task: str):
    whole, smaller = both
    ids = new_ids(whole, smaller)
    assert smaller.vocabulary.size < whole.vocabulary.size
    for text in TEXTS:
        before = logits(whole, task, recordings(1)[0], text)[:, list(ids)]
        after = logits(smaller, task, recordings(1)[0], text)
        # The same products; a library may add them up in another order.
        torch.testing.assert_close(after, before, rtol=1e-6, atol=1e-6)


def outputs(model: TaskAwareModel, beam: int) -> list[tuple[int, ...]]:
    """The pieces that a model writes of recordings, of each the best."""
    decoding = with_beam(model.decoding, beam=beam)
    found = model.run_many("asr_en", recordings(8), decoding=decoding)
    return [hypotheses[0].token_ids for hypotheses in found]


def make_improbable(model: TaskAwareModel, pieces: list[int]) -> None:
    """Take one number of each position for how probable these pieces are; the others have none."""
    transformer = model.transformer
    norm = transformer.decoder_norm
    if not isinstance(norm, torch.nn.LayerNorm):
        norm = cast("DecoderLayer", transformer.decoder[-1]).around_feed_forward.norm
    with torch.no_grad():
        norm.weight[0], norm.bias[0] = 0, 50
        transformer.token_embedding.weight[:, 0] = 0
        transformer.token_embedding.weight[pieces, 0] = -1


def test_greedy_search_writes_what_the_whole_model_does_where_its_pieces_stay(both):
    whole, smaller = both
    ids = new_ids(whole, smaller)
    pairs = zip(outputs(whole, 1), outputs(smaller, 1), strict=True)
    kept = [(before, after) for before, after in pairs if set(before) <= set(ids)]
    assert len(kept) > 1
    assert len({before for before, _ in kept}) > 1
    for before, after in kept:
        assert after == tuple(ids[i] for i in before)


def test_a_beam_does_so_where_the_pieces_that_go_have_no_probability(both):
    whole = copy.deepcopy(both[0])
    ids = new_ids(*both)
    cut = [i for i in range(whole.vocabulary.size) if i not in ids]
    make_improbable(whole, cut)
    smaller = cut_vocabulary(whole, TEXTS)
    assert smaller.vocabulary.sha256 == both[1].vocabulary.sha256
    found = outputs(whole, 4)
    assert len(set(found)) > 1
    assert outputs(smaller, 4) == [tuple(ids[i] for i in pieces) for pieces in found]


def test_what_no_output_has_is_still_that_and_the_first_model_stays_as_it_was(both):
    whole, smaller = both
    ids = new_ids(whole, smaller)
    for name in ("suppressed", "suppressed_first"):
        before, after = (getattr(model.decoding, name) for model in both)
        assert after == tuple(ids[i] for i in before if i in ids)
        assert after
    weights = copy.deepcopy(whole.transformer.state_dict())
    again = cut_vocabulary(whole, TEXTS)
    assert again.transformer.token_embedding.weight.requires_grad
    assert all(torch.equal(weights[name], value) for name, value in weights.items())
    assert again.provenance["pieces_before"] == whole.vocabulary.size


def test_all_commands_know_the_smaller_model(
    both, whisper: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    manifests = write_corpus(tmp_path)
    files = ",".join(str(path) for path in manifests.values())
    folder, data = tmp_path / "models" / "smaller", tmp_path / "data"
    smaller = imported(whisper, folder, "--pieces-of", files)
    size, whole_size = smaller.vocabulary.size, both[0].vocabulary.size
    assert f"{size} pieces of {whole_size}, tasks asr_en" in capsys.readouterr().out
    options = [word for split, path in manifests.items() for word in (f"--{split}", str(path))]
    options += ["--vocabulary", str(folder / "vocabulary.model"), "features.kind=whisper"]
    options += [f"features.padded_seconds={SECONDS}", "--to", str(data)]
    assert run(["prepare", *options]) == 0
    assert run(["evaluate", str(folder), "--data", str(data), "--split", "test"]) == 0
    assert run(["predict", str(folder), str(tmp_path / "test0.wav")]) == 0
    capsys.readouterr()
    assert run(["inspect", str(folder)]) == 0
    assert f"pieces_before  {whole_size}" in " ".join(capsys.readouterr().out.split(" "))
    path = tmp_path / "tiny.toml"
    path.write_text(
        f'name = "tiny"\n[data]\nfolder = "{data}"\ntasks = ["asr_en"]\n'
        f'[start]\nmodel = "{folder}"\n[training]\nupdates = 1\n'
    )
    assert run(["train", str(path), "--to", str(tmp_path / "run")]) == 0
    assert taskaware.load(tmp_path / "run", device="cpu").vocabulary.size == size


def write_table(path: Path, first: str, second: str) -> Path:
    path.write_text(f"{first}\n{second}\n", encoding="utf-8")
    return path


def test_files_that_say_no_texts_are_refused_by_name(
    whisper: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    def refused(path: Path) -> str:
        arguments = [str(whisper), "--to", str(tmp_path / "ours"), "--pieces-of", str(path)]
        assert run(["import", *arguments]) == 2
        assert not (tmp_path / "ours").exists()
        return capsys.readouterr().err

    assert "nothing.txt: the file does not exist" in refused(tmp_path / "nothing.txt")
    assert "must be a file, but is a folder" in refused(tmp_path)
    assert "all are empty" in refused(write_table(tmp_path / "empty.txt", "", "  "))
    columns = write_table(tmp_path / "table.tsv", "en\tde", "house\tHaus")
    assert "table.tsv, line 1" in refused(columns)
    wrong = write_table(tmp_path / "wrong.tsv", "task\tsource_text\ttarget_text", "mt\thouse\t")
    assert "line 2, field 'target_text'" in refused(wrong)
    (tmp_path / "sound.wav").write_bytes(b"RIFF\xff\xfe\x00")
    assert "must be a manifest or a text in UTF-8" in refused(tmp_path / "sound.wav")


def test_a_manifest_gives_the_texts_of_both_columns_whatever_it_is_called(
    whisper: Path, tmp_path: Path
):
    header = "task\tsource_text\ttarget_text"
    line = "mt\tthe red house is\tfar away"
    models = [
        imported(whisper, tmp_path / name, "--pieces-of", str(write_table(path, header, line)))
        for name, path in (("a", tmp_path / "table.tsv"), ("b", tmp_path / "table"))
    ]
    texts = cut_vocabulary(imported(whisper, tmp_path / "whole"), line.split("\t")[1:])
    assert {model.vocabulary.sha256 for model in models} == {texts.vocabulary.sha256}


MAKERS = {"marian": marian, "m2m_100": m2m100}
SENTENCES = ["the red house", "the house is far", "a dog is near", "the dog sees", "a red dog"]


@pytest.fixture(scope="module", params=MAKERS)
def translators(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[TaskAwareModel, TaskAwareModel]:
    """A model of texts, before and after; the pieces that go are improbable, as in use."""
    folder = tmp_path_factory.mktemp(request.param)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # their tokenizers want one more library
        MAKERS[request.param](folder)
    whole = imported(folder, folder / "ours", "--tasks", "mt_en_de")
    texts = [*SENTENCES, GERMAN[0]]
    ids = new_ids(whole, cut_vocabulary(whole, texts))
    cut = [i for i in range(whole.vocabulary.size) if i not in ids]
    make_improbable(whole, cut)
    return whole, cut_vocabulary(whole, texts)


def text_logits(model: TaskAwareModel, text: str) -> Tensor:
    task = model.task("mt_en_de")
    (source,) = model.cue(task).around([model.encode_source(text, "text")])
    target = np.array(model.vocabulary.encode(GERMAN[0]))
    batch = collate(task, [source], [target], cue=model.cue(task))
    with torch.no_grad():
        return model.transformer(batch, None)[0]


def test_translations_and_their_logits_are_those_of_the_whole_model(translators):
    whole, smaller = translators
    ids = new_ids(whole, smaller)
    assert smaller.vocabulary.size < whole.vocabulary.size
    for text in SENTENCES:
        before, after = text_logits(whole, text)[:, list(ids)], text_logits(smaller, text)
        torch.testing.assert_close(after, before, rtol=1e-6, atol=1e-5)
    for beam in (1, 4):
        pieces = []
        for model in translators:
            decoding = with_beam(model.decoding, beam=beam)
            found = model.run_many("mt_en_de", SENTENCES, decoding=decoding)
            pieces.append([hypotheses[0].token_ids for hypotheses in found])
        assert len(set(pieces[0])) > 1
        assert pieces[1] == [tuple(ids[i] for i in row) for row in pieces[0]]


def test_data_that_need_a_character_that_was_cut_are_refused_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        m2m100(tmp_path)
    (tmp_path / "kept.txt").write_text("the red house is far away\nein Hund\n")
    options = ["--tasks", "mt_en_de", "--pieces-of", str(tmp_path / "kept.txt")]
    model = imported(tmp_path, tmp_path / "ours", *options)
    assert model.run("mt_en_de", "the house") is not None

    def prepared(source: str, target: str, *options: str) -> int:
        header = "task\tsource_text\ttarget_text\tsource_language\ttarget_language"
        lines = f"mt_en_de\ta red house\tein Hund\ten\tde\nmt_en_de\t{source}\t{target}\ten\tde"
        manifest = write_table(tmp_path / "train.tsv", header, lines)
        vocabulary = ["--vocabulary", str(tmp_path / "ours" / "vocabulary.model")]
        to = ["--to", str(tmp_path / "data")]
        return run(["prepare", "--train", str(manifest), *vocabulary, *to, *options])

    assert prepared("a house", "das grüne Haus") == 1
    message = capsys.readouterr().err
    assert "has 'g', 'ü', which" in message.replace("\n", " ")
    assert "--pieces-of" in message
    report = (tmp_path / "data" / "report.tsv").read_text(encoding="utf-8")
    assert "target_text" in report
    assert prepared("a green house", "ein Hund") == 1
    assert (
        "source_text: must be text of the vocabulary's pieces, but has 'g'"
        in capsys.readouterr().err.replace("\n", " ")
    )
    # What never was a piece is unknown to the whole vocabulary, too.
    assert prepared("a red house: 日", "ein Hund 日") == 0
