"""Models that others trained, as models of ours: a folder in Hugging Face's layout in, ours out.

``model.pretrained`` has the weights, a file for each family; here is the rest of a model: what it
can do, its vocabulary, how it hears, how it searches.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from taskaware.data.sound.settings import FeatureSettings
from taskaware.data.vocabulary.prompts import own_pieces
from taskaware.errors import CheckpointError, TaskawareError, UserError
from taskaware.files import read_json_object
from taskaware.inference.model import TaskAwareModel, load
from taskaware.model.conditioning_settings import ConditioningSettings
from taskaware.model.pretrained.joined import join
from taskaware.model.pretrained.read import check_family, convert, create_pretrained
from taskaware.model.pretrained.source import read_config, read_tensors
from taskaware.model.settings import BridgeSettings
from taskaware.pretrained.cutting import cut_vocabulary
from taskaware.pretrained.files import read_json
from taskaware.pretrained.other_folders import why_no_model
from taskaware.pretrained.searching import RECORDINGS_TOGETHER, decoding_settings
from taskaware.pretrained.texts import check_files, read_texts
from taskaware.pretrained.vocabularies import read_vocabulary
from taskaware.settings.typed import require_valid
from taskaware.types import Task
from taskaware.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

    from taskaware.data.vocabulary.vocabulary import Vocabulary
    from taskaware.decoding.settings import DecodingSettings
    from taskaware.model.pretrained.source import Config, Pretrained

_LANGUAGE = "[a-z]{2,3}(?:_[A-Z][a-z]{3})?"  # de; deu_Latn
_TASK = re.compile(f"(asr)_({_LANGUAGE})|(st|mt)_({_LANGUAGE})_({_LANGUAGE})")
_FRAMES_PER_SECOND = 100
_IMPORTED_FROM = "imported_from"  # in the provenance


def import_model(
    folder: Path | str,
    *,
    tasks: Sequence[str] = (),
    hears_seconds: float | None = None,
    pieces_of: Sequence[Path | str] = (),
) -> TaskAwareModel:
    """Return a pretrained model as one of ours, not yet saved. Nothing in the folder is executed.

    Args:
        folder: In Hugging Face's layout: config.json, safetensors, the files of its tokenizer.
        tasks: What it can do: ``"asr_en"``, ``"st_de_en"``, ``"mt_en_de"`` (of NLLB
            ``"mt_eng_Latn_deu_Latn"``). If none: recognition of English for Whisper, the direction
            that an OPUS-MT model names.
        hears_seconds: What every recording is filled up to with silence; ``None``: what the model
            was trained on, 30 s for Whisper. 0: nothing; then it must be trained to stop.
        pieces_of: Manifests, or text files of a text a line, to whose pieces the vocabulary is cut;
            if none, it stays whole. See ``cutting.cut_vocabulary``.

    Raises:
        CheckpointError: The folder is no model of a known family, or its parts do not fit.
        UserError: A task is not of a form that is known, or none is named; a file of texts is
            missing, or they are all empty.
        ManifestError: A manifest of ``pieces_of`` is none, or a line of it is wrong.
        UnknownTaskError: The model cannot do a task.
    """
    folder = Path(folder)
    config = _config(folder)
    files = [Path(file) for file in pieces_of]
    check_files(files)
    names = list(dict.fromkeys(tasks)) or _default_tasks(folder, config)
    wanted = tuple(_task(name) for name in names)
    pretrained = convert(config, read_tensors(folder))
    _check_modality(wanted, pretrained)
    vocabulary = read_vocabulary(folder, pretrained)
    features = _features(folder, pretrained, hears_seconds)
    is_whisper = pretrained.family == "whisper"
    hears_less = is_whisper and features.padded_seconds < _longest_seconds(pretrained)
    model = _model(
        pretrained,
        wanted,
        vocabulary,
        features,
        decoding_settings(folder, config, pretrained, vocabulary, hears_less=hears_less),
        {_IMPORTED_FROM: str(folder)},
    )
    return _with_pieces_of(model, files)


def import_joined(
    folder: Path | str,
    decoder_of: Path | str,
    *,
    tasks: Sequence[str] = (),
    hears_seconds: float | None = None,
    pieces_of: Sequence[Path | str] = (),
    bridge_layers: int = 2,
) -> TaskAwareModel:
    """Return a model with the speech encoder of one folder and the decoder of another.

    It hears as the first and has the pieces of the second. Of a recording it writes nothing of use
    before the bridge between them is trained. With a task that has a text source it keeps the
    second's own encoder for texts, which it translates as the second does.

    Args:
        folder: As in ``import_model``, of a model that hears recordings.
        decoder_of: The same, of a model of any family.
        tasks: ``"st_en_de"``, ``"mt_en_de"`` and so on; if none, speech in the direction that an
            OPUS-MT decoder names.
        hears_seconds: As in ``import_model``.
        pieces_of: As in ``import_model``.
        bridge_layers: Convolutions of the bridge, each of which halves the positions.

    Raises:
        CheckpointError, ManifestError, UnknownTaskError: As ``import_model``.
        UserError: As ``import_model``; or the first model hears no recordings, or the bridge has
            an impossible number of layers.
    """
    bridge = BridgeSettings(num_layers=bridge_layers)
    require_valid(bridge, where="bridge")
    folder, decoder_of = Path(folder), Path(decoder_of)
    config, decoder_config = _config(folder), _config(decoder_of)
    files = [Path(file) for file in pieces_of]
    check_files(files)
    if not tasks:
        names = _default_tasks(decoder_of, decoder_config, example="st_en_de")
        tasks = [re.sub("^mt_", "st_", name) for name in names]
    wanted = tuple(_task(name) for name in dict.fromkeys(tasks))
    encoder = convert(config, read_tensors(folder))
    if encoder.modality != "speech":
        raise UserError(
            f"the model whose encoder is taken must hear recordings, as Whisper and Speech2Text "
            f"do, but {folder} is a {encoder.family} model, which reads texts"
        )
    hearing = [task for task in wanted if not task.modality.is_text]
    if not hearing:
        raise UserError(
            "a model that is joined to an encoder of speech must have a task for speech, such as "
            f"st_en_de, but its tasks are {', '.join(task.name for task in wanted)}: import "
            f"{decoder_of} alone for texts"
        )
    _check_modality(hearing, encoder)
    decoder = convert(decoder_config, read_tensors(decoder_of))
    joined = join(encoder, decoder, bridge, keeps_texts=len(hearing) < len(wanted))
    vocabulary = read_vocabulary(decoder_of, decoder)
    _check_told_apart(hearing, vocabulary)
    decoding = decoding_settings(decoder_of, decoder_config, decoder, vocabulary)
    together = min(decoding.examples_per_batch, RECORDINGS_TOGETHER)
    model = _model(
        joined,
        wanted,
        vocabulary,
        _features(folder, encoder, hears_seconds),
        replace(decoding, examples_per_batch=together),
        {_IMPORTED_FROM: str(folder), "decoder_from": str(decoder_of)},
    )
    return _with_pieces_of(model, files)


def is_imported(folder: Path) -> bool:
    """Whether a folder says that it is an imported model."""
    try:
        return _IMPORTED_FROM in read_json_object(folder / "provenance.json")
    except (OSError, ValueError):
        return False


def is_saved_as(model: TaskAwareModel, folder: Path) -> bool:
    """Whether a folder is that of this model, complete and with the same weights."""
    try:
        there = load(folder, device="cpu")
    except TaskawareError:
        return False
    parts = ("settings", "tasks", "feature_settings", "decoding", "longest_sources")
    own, saved = model.transformer.state_dict(), there.transformer.state_dict()
    return (
        all(getattr(there, part) == getattr(model, part) for part in parts)
        and there.vocabulary.sha256 == model.vocabulary.sha256
        and own.keys() == saved.keys()
        and all(torch.equal(own[name], saved[name]) for name in own)
    )


def _check_told_apart(tasks: Sequence[Task], vocabulary: Vocabulary) -> None:
    """Refuse tasks that a decoder's prompt does not tell apart; a text's prefix is not there."""
    by_prompt: dict[tuple[int, ...], str] = {}
    for task in tasks:
        prompt = own_pieces(vocabulary, task, names_task=True).prompt
        other = by_prompt.setdefault(prompt, task.name)
        if other != task.name:
            raise UserError(
                f"the tasks of a model must be told apart by the first pieces of its decoder, but "
                f"'{other}' and '{task.name}' have the same: import it for one, and add the other "
                "in training with the cue 'explicit'"
            )


def _config(folder: Path) -> Config:
    config = read_config(folder) if (folder / "config.json").exists() else None
    if config is None or "model_type" not in config.values:
        raise CheckpointError(
            f"{folder} must be a folder in Hugging Face's layout, but {why_no_model(folder)}"
        )
    check_family(config)
    return config


def _model(
    pretrained: Pretrained,
    wanted: tuple[Task, ...],
    vocabulary: Vocabulary,
    features: FeatureSettings,
    decoding: DecodingSettings,
    imported_from: dict[str, str],
) -> TaskAwareModel:
    for task in wanted:
        own_pieces(vocabulary, task, names_task=True)
    frames = int(features.padded_seconds * _FRAMES_PER_SECOND)
    return TaskAwareModel(
        transformer=create_pretrained(pretrained, wanted),
        # Its own pieces are what tells it the task.
        settings=replace(pretrained.settings, conditioning=ConditioningSettings(cue="target_tag")),
        tasks=wanted,
        vocabulary=vocabulary,
        feature_settings=features,
        decoding=decoding,
        provenance={
            **imported_from,
            "family": pretrained.family,
            "taskaware": __version__,
        },
        longest_sources={
            task.name: frames for task in wanted if frames and task.modality.is_recording
        },
    )


def _with_pieces_of(model: TaskAwareModel, files: Sequence[Path]) -> TaskAwareModel:
    if not files:
        return model
    return cut_vocabulary(model, itertools.chain.from_iterable(map(read_texts, files)))


def _default_tasks(folder: Path, config: Config, example: str = "") -> list[str]:
    family = str(config.values["model_type"])
    if family == "whisper":
        return ["asr_en"]
    said = read_json(folder / "tokenizer_config.json") or {}
    source, target = said.get("source_lang"), said.get("target_lang")
    if family == "marian" and source and target:
        name = f"mt_{source}_{target}"
        if _TASK.fullmatch(name):
            return [name]
    example = example or ("st_en_de" if family == "speech_to_text" else "mt_en_de")
    raise UserError(
        f"the tasks of a {family} model must be named, as it does not name them itself: for "
        f"example --tasks {example}"
    )


def _task(name: str) -> Task:
    """Return the task that a name such as ``asr_en`` or ``st_de_en`` means.

    Raises:
        UserError: It is not of such a form.
    """
    found = _TASK.fullmatch(name)
    if found is None:
        raise UserError(
            "a task must be named asr_LANGUAGE (recognition), st_LANGUAGE_LANGUAGE (translation of "
            "speech) or mt_LANGUAGE_LANGUAGE (of text), for example asr_en, st_de_en or mt_en_de, "
            f"but is '{name}'"
        )
    kind = found[1] or found[3]
    return Task(
        name=name,
        kind=kind,
        source_modality="text" if kind == "mt" else "speech",
        source_language=found[2] or found[4],
        target_language=found[2] or found[5],
    )


def _check_modality(tasks: Sequence[Task], pretrained: Pretrained) -> None:
    for task in tasks:
        if task.source_modality != pretrained.modality:
            raise UserError(
                f"the tasks of a {pretrained.family} model must be for {pretrained.modality}, but "
                f"'{task.name}' is for {task.source_modality}"
            )


def _features(folder: Path, pretrained: Pretrained, hears_seconds: float | None) -> FeatureSettings:
    bins = pretrained.settings.num_features
    if pretrained.family != "whisper":
        if hears_seconds:
            raise UserError(
                "the seconds that a model hears must be left out for all but Whisper, which alone "
                f"was trained on recordings of one length, but are {hears_seconds:g}"
            )
        said = read_json(folder / "preprocessor_config.json") or {}
        for name in ("do_ceptral_normalize", "normalize_means", "normalize_vars"):
            if pretrained.modality == "speech" and said.get(name, True) is not True:
                raise CheckpointError(
                    f"{folder / 'preprocessor_config.json'}: {name} must be true, but is "
                    f"{said[name]!r}: models with it cannot be imported"
                )
        return FeatureSettings(num_mel_bins=bins)
    longest = _longest_seconds(pretrained)
    seconds = longest if hears_seconds is None else hears_seconds
    if not 0 <= seconds <= longest:
        raise UserError(
            f"the seconds that the model hears must be from 0 to {longest:g}, but are {seconds:g}"
        )
    return FeatureSettings(kind="whisper", num_mel_bins=bins, padded_seconds=float(seconds))


def _longest_seconds(pretrained: Pretrained) -> float:
    """Return how long the recordings of a Whisper's training were; one convolution has stride 2."""
    return 2 * pretrained.settings.num_source_positions / _FRAMES_PER_SECOND
