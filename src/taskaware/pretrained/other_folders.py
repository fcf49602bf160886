"""What stands in the place of a pretrained model and is none, and what to give instead."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

# By a file that such a folder has; of several the first says it.
_FOLDERS = {
    "model.json": "a model of ours, which is used as it is: `taskaware predict`, `start.model`",
    "experiment.toml": "a run of ours, whose model is used as it is: `taskaware predict`, "
    "`start.model`",
    "prepared.json": "prepared data: give the model that it is for",
    "export.json": "an export for other programs: give the model that it is of",
    "adapter_config.json": "a set of adapters of the peft library without its base: merge it "
    "there (`merge_and_unload()`), save the merged model with `save_pretrained(NEW)`, and give NEW",
    "model.bin": "a model in CTranslate2's form, as faster-whisper has: give the one that it was "
    "converted from",
}


def why_no_model(folder: Path) -> str:
    """Return what stands in the place of a folder in Hugging Face's layout.

    Args:
        folder: A path that is no folder, or one without a ``config.json`` that names a family.
    """
    if not folder.exists():
        return "does not exist"
    if not folder.is_dir():
        return "is a file: give the folder with config.json, safetensors and a tokenizer"
    for name, what in _FOLDERS.items():
        if (folder / name).is_file():
            return f"is {what}"
    inside = sorted(path.parent for path in folder.glob("snapshots/*/config.json"))
    if inside:  # as the library's cache keeps it
        return f"is a cache of several versions: give one, {inside[-1]}"
    return "has no config.json that names a `model_type`"
