"""What a run writes into its folder, which is all that starting over deletes.

The folder's record (``output_folder``) holds these names from the moment in which a run first
claims the folder. What somebody else put there is not touched: where it is in the way, starting or
starting over is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskaware.errors import OutputError
from taskaware.files import parse_json
from taskaware.inference.model_card import CARD_NAME, is_somebodys
from taskaware.output_folder import RUN_LOCK_NAME, claimed, listed

if TYPE_CHECKING:
    from pathlib import Path

    from taskaware.output_folder import OutputFolder

_MODEL = (
    *("model.json", "model.safetensors", "provenance.json", "task_embeddings.safetensors"),
    *("vocabulary.model", CARD_NAME),
)
_UPDATE = f"update-{8 * '[0-9]'}"  # not `update-00001000-good`, a copy that somebody made
_CHECKPOINT = ("model.safetensors", "optimiser.safetensors", "random-*.safetensors", "state.json")
_MODELS = ("model", "best", "average", "taskwise/*")
# What a killed run leaves of a file that had not got its name (``files``), in any folder.
_UNFINISHED = (".*.partial", ".*.link")
# Files; a star stands for any part of a name.
_WRITTEN = (
    *("experiment.toml", "log.jsonl", RUN_LOCK_NAME, *_UNFINISHED),
    *(
        f"checkpoints/{folder}/{name}"
        for folder in (_UPDATE, f".{_UPDATE}.partial", f".{_UPDATE}.old")
        for name in (*_CHECKPOINT, *_UNFINISHED)
    ),
    *(f"best_weights/{name}" for name in (f"{_UPDATE}.safetensors", *_UNFINISHED)),
    *(f"{folder}/{name}" for folder in _MODELS for name in (*_MODEL, *_UNFINISHED)),
    *(f".{folder}.partial/{name}" for folder in _MODELS for name in (*_MODEL, *_UNFINISHED)),
    *(f".{folder}.old/{name}" for folder in _MODELS for name in _MODEL),
    *(
        f"taskwise/.*.{end}/{name}"
        for end in ("partial", "old")
        for name in (*_MODEL, *_UNFINISHED)
    ),
    *("evaluation/*outputs.jsonl", "evaluation/*results.json", "evaluation/*study.json"),
    *("evaluation/*embeddings.npz", *(f"evaluation/{name}" for name in _UNFINISHED)),
    "tensorboard/*tfevents*",
)
_INNER = tuple(dict.fromkeys(name.partition("/")[0] for name in _WRITTEN if "/" in name))


def claim_files(folder: Path, *, restart: bool) -> None:
    """Find that a folder is free for a run, or a run's; delete what the run wrote to start over.

    Raises:
        OutputError: There are files in the way that no run wrote, or the folder cannot be written.
    """
    names = [name for name in (*_INNER, "experiment.toml", "log.jsonl") if "*" not in name]

    def earlier() -> tuple[str, ...]:
        return _WRITTEN if _is_run(folder) else ()

    with claimed(folder, names=names, whole=False, earlier=earlier, waits=True) as output:
        output.adopt(_WRITTEN)
        if restart:
            _start_over(folder, output)


def _start_over(folder: Path, output: OutputFolder) -> None:
    there = [path for name in _INNER for path in (folder / name).rglob("*")]
    inside = [str(path.relative_to(folder)) for path in there if not path.is_dir()]
    foreign = [name for name in inside if not output.owns(name) or _is_changed_card(folder / name)]
    if foreign:
        raise OutputError(
            f"{folder} holds {listed(folder, foreign)}, which no run wrote and which starting over "
            "would have to delete: move it away, or choose another folder with --to; nothing was "
            "changed"
        )
    own = [path.name for path in folder.iterdir() if path.is_file() and output.owns(path.name)]
    output.remove([*inside, *own])


def _is_changed_card(path: Path) -> bool:
    return path.name == CARD_NAME and is_somebodys(path)


def _is_run(folder: Path) -> bool:
    """Whether a version that kept no record trained here: its log or a checkpoint shows it."""
    if any((folder / "checkpoints").glob("update-*/state.json")):
        return True
    try:
        with (folder / "log.jsonl").open(encoding="utf-8") as file:
            line = parse_json(file.readline(1 << 20))
    except (OSError, ValueError):
        return (folder / "model" / "model.json").is_file()
    return isinstance(line, dict) and {"kind", "update"} <= set(line)
