"""The card of a model: ``README.md`` in its folder, in the form that model hubs read.

Metadata as YAML between two lines ``---``, then Markdown: what the model does, how it was trained,
how to load it, its scores where they are known. The form is that of the Hugging Face Hub,
https://huggingface.co/docs/hub/model-cards. Nothing is stated that the folder does not hold.

The last line is a comment with the SHA-256 of all before it: a card that has it is as it was
written, and may be written anew. Any other belongs to whoever wrote or changed it.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any

from taskaware.errors import counted
from taskaware.files import read_regular, write_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from taskaware.inference.parts import ModelParts
    from taskaware.types import Task

CARD_NAME = "README.md"
_MARK = re.compile(r"<!-- written by taskaware: ([0-9a-f]{64}) -->\n?\Z")
_PIPELINES = {"asr": "automatic-speech-recognition", "mt": "translation"}
_LICENSE = """\
# license: to be chosen by whoever publishes the model, within the licences of its training data and
# of the model that it started from"""
_CUES = {
    "none": "nothing but the kind of source",
    "text_label": "words before a text source",
    "target_tag": "the first pieces of its decoder",
    "explicit": "a task embedding, from a one-hot task",
    "implicit": "a task embedding, from examples of the task",
}


@dataclass(frozen=True, kw_only=True)
class CardScore:
    """A score as the card shows it.

    Attributes:
        task: The task's name.
        metric: Its name, such as ``"wer"``.
        value: In percent for error rates.
        num_examples: How many examples it is over.
        data: Name of the data.
        split: Which split of it.
        signature: Everything one must know to compute the same figure.
        warning: Why the figure says little, or empty.
    """

    task: str
    metric: str
    value: float
    num_examples: int
    data: str
    split: str
    signature: str
    warning: str = ""


def may_write_card(folder: Path) -> bool:
    """Whether a folder has no card, or one that is as it was written.

    A folder of that name which a killed process left behind (``folder_exchange``) counts too.
    """
    places = (folder, folder.with_name(f".{folder.name}.old"))
    return not any(is_somebodys(place / CARD_NAME) for place in places)


def is_somebodys(path: Path) -> bool:
    """Whether a card is there that somebody wrote or changed."""
    try:
        text = read_regular(path).decode("utf-8")
    except FileNotFoundError:
        return False
    except (OSError, ValueError):
        return True
    found = _MARK.search(text)
    return found is None or found[1] != _digest(text[: found.start()])


def write_card(parts: ModelParts, folder: Path, scores: Sequence[CardScore] = ()) -> None:
    """Write the card of a model into its folder, unless one is there that somebody changed.

    Raises:
        WriteError: The disk is full, for example.
    """
    if may_write_card(folder):
        write_text(folder / CARD_NAME, model_card(parts, scores))


def model_card(parts: ModelParts, scores: Sequence[CardScore] = ()) -> str:
    """Return the card of a model, with its mark."""
    name = _name(parts)
    sections = (
        "\n".join(("---", *_metadata(parts, name, scores), "---")),
        f"# {_plain(name)}",
        *_what(parts),
        "## Training",
        *_training(parts),
        "## Scores",
        *_scores(scores),
        "## Use",
        *_use(parts),
    )
    text = "\n\n".join(sections) + "\n\n"
    return f"{text}<!-- written by taskaware: {_digest(text)} -->\n"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _name(parts: ModelParts) -> str:
    about = parts.provenance
    named = about.get("experiment") or Path(str(about.get("imported_from", ""))).name
    return str(named or "taskaware model")


def _metadata(parts: ModelParts, name: str, scores: Sequence[CardScore]) -> Iterator[str]:
    languages = dict.fromkeys(
        language.partition("_")[0]
        for task in parts.tasks
        for language in (task.source_language, task.target_language)
    )
    codes = [code for code in languages if re.fullmatch("[a-z]{2,3}", code)]
    if codes:
        yield "language:"
        yield from (f"- {_yaml(code)}" for code in codes)
    yield _LICENSE
    yield "library_name: taskaware"
    kinds = dict.fromkeys(task.kind for task in parts.tasks)
    pipelines = [_PIPELINES[kind] for kind in kinds if kind in _PIPELINES]
    if pipelines:
        yield f"pipeline_tag: {pipelines[0]}"
    tags = ["taskaware", *pipelines, *(["speech-translation"] if "st" in kinds else [])]
    yield "tags:"
    yield from (f"- {tag}" for tag in tags)
    if scores:
        yield "model-index:"
        yield f"- name: {_yaml(name)}"
        yield "  results:"
        for score in scores:
            yield from _index_entry(score, parts.tasks)


def _index_entry(score: CardScore, tasks: Sequence[Task]) -> Iterator[str]:
    kind = next((task.kind for task in tasks if task.name == score.task), "")
    yield "  - task:"
    yield f"      type: {_PIPELINES.get(kind, 'translation' if kind == 'st' else 'other')}"
    yield f"      name: {_yaml(score.task)}"
    yield "    dataset:"
    yield f"      name: {_yaml(score.data)}"
    yield f"      type: {_yaml(score.data)}"
    yield f"      split: {_yaml(score.split)}"
    yield "    metrics:"
    yield f"    - type: {_yaml(score.metric)}"
    yield f"      value: {score.value:.2f}"


def _what(parts: ModelParts) -> Iterator[str]:
    number = sum(parameter.numel() for parameter in parts.transformer.parameters())
    settings = parts.settings
    cue = _CUES[settings.conditioning.cue]
    if parts.transformer.adapters.tasks:
        cue = f"adapters of its own ({settings.adapters.method})"
    own = settings.num_text_encoder_layers
    yield (
        f"One encoder-decoder Transformer of {number:,} parameters ({settings.num_encoder_layers} "
        f"+ {settings.num_decoder_layers} layers, {settings.d_model} wide, "
        f"{f'{own} more that read texts, ' if own else ''}"
        f"{parts.vocabulary.size:,} word pieces) for {counted(len(parts.tasks), 'task')}. "
        f"What tells it the task: {cue}."
    )
    yield _table(
        ("task", "kind", "reads", "from", "to"),
        [
            (t.name, t.kind, t.source_modality, t.source_language, t.target_language)
            for t in parts.tasks
        ],
    )


def _training(parts: ModelParts) -> Iterator[str]:
    about = parts.provenance
    if "imported_from" in about:
        decoder = about.get("decoder_from")
        whose = f", with the decoder of `{last_part(decoder)}` and a new bridge" if decoder else ""
        yield (
            f"Weights of another's model ({_plain(about.get('family', 'family not known'))}), "
            f"imported from `{last_part(about['imported_from'])}`{whose}; not trained further. "
            "How it was trained, and its licence, stand where it comes from."
        )
        return
    if "experiment" not in about:
        yield "Not recorded."
        return
    start = last_part(about.get("start"))
    rows = [
        ("experiment", about.get("experiment")),
        ("updates", about.get("update")),
        ("seed", about.get("seed")),
        ("started from", start or "random weights"),
        *([("of it are trained", about.get("trains"))] if start else []),
        ("data", f"{last_part(about.get('data'))}, {str(about.get('data_fingerprint'))[:8]}"),
        ("taskaware, torch", f"{about.get('taskaware')}, {about.get('torch')}"),
    ]
    yield _table(("what", "value"), [(name, str(value)) for name, value in rows])
    yield "`provenance.json` and `model.json` in this folder have the rest."


def _scores(scores: Sequence[CardScore]) -> Iterator[str]:
    if not scores:
        yield "None known: `taskaware evaluate` has not been run on this model."
        return
    yield _table(
        ("task", "data", "split", "examples", "metric", "score"),
        [
            (s.task, s.data, s.split, f"{s.num_examples:,}", s.metric, f"{s.value:.1f}")
            for s in scores
        ],
    )
    signatures = dict.fromkeys((score.metric, score.signature) for score in scores)
    notes = [f"- {name}: `{signature.replace('`', '')}`" for name, signature in signatures]
    warned = [score for score in scores if score.warning]
    notes += [f"- {_plain(s.task)}, {s.metric}, {s.split}: {_plain(s.warning)}" for s in warned]
    yield "\n".join(notes)


def _use(parts: ModelParts) -> Iterator[str]:
    task = parts.tasks[0]
    source = "Good morning." if task.source_modality == "text" else "recording.flac"
    if task.source_modality == "features":
        source = "features.npy"
    yield (
        "```python\n"
        "import taskaware\n\n"
        'model = taskaware.load("FOLDER")  # this folder; of a hub: its local snapshot\n'
        f"print(model.run({json.dumps(task.name)}, {json.dumps(source)}))\n"
        "```"
    )
    yield "Nothing in this folder is executed: weights are safetensors, the rest is JSON and text."


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *([_plain(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _plain(text: object) -> str:
    """Return a text that means nothing to Markdown or HTML, on one line."""
    return re.sub(r"([\\`*|<\[\]])", r"\\\1", " ".join(str(text).split()))


def last_part(path: object) -> str:
    """Return the name of a path: where it was on somebody's machine is no one's business."""
    return re.sub("[`|]", "", re.split(r"[/\\]", str(path or "").rstrip("/\\"))[-1])


def shareable(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Return a model's origin with the names of absolute paths alone: folders of models are shared.

    Where something was on somebody's machine is no one's business; a relative path says no more
    than whoever gave it.
    """
    return {
        name: last_part(value) if isinstance(value, str) and _is_absolute(value) else value
        for name, value in provenance.items()
    }


def _is_absolute(text: str) -> bool:
    return PurePosixPath(text).is_absolute() or PureWindowsPath(text).is_absolute()


def _yaml(text: str) -> str:
    """Return a text as a quoted scalar of YAML, of which JSON's texts are a part."""
    return json.dumps(text, ensure_ascii=True)
