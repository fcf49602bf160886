"""``taskaware inspect``: what is in a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from taskaware.cli.display import out

_SHOWN = 5  # values of a row, such as Whisper's 90 suppressed pieces


def inspect(model: Path, /, *, which: str = "model", json: bool = False) -> int:
    """Show a model's parameters by part, its tasks, its vocabulary, and its provenance.

    Parameters
    ----------
    model
        A model's folder, or a run's.
    which
        Which of a run's models: model, best, average, taskwise/TASK.
    json
        Print JSON.
    """
    from dataclasses import asdict

    from taskaware.inference.model import load
    from taskaware.model.parameters import adapter_parameters, parameters_by_part

    loaded = load(model, which=which)
    parts = parameters_by_part(loaded.transformer)
    content: dict[str, Any] = {
        "parameters": {**parts, "total": sum(parts.values())},
        "settings": asdict(loaded.settings),
        "adapters": {},
        "tasks": [asdict(task) for task in loaded.tasks],
        "task_embedding_size": next((v.shape[1] for v in loaded.task_embeddings.values()), 0),
        "vocabulary": {"pieces": loaded.vocabulary.size, "sha256": loaded.vocabulary.sha256},
        "longest_sources": dict(loaded.longest_sources),
        "decoding": asdict(loaded.decoding),
        "provenance": dict(loaded.provenance),
    }
    if loaded.transformer.adapters.tasks:
        content["adapters"] = {
            "method": loaded.settings.adapters.method,
            "parameters": adapter_parameters(loaded.transformer, loaded.tasks),
        }
    if json:
        import json as json_module

        print(json_module.dumps(content, indent=1, default=str))
        return 0
    _print(content)
    return 0


def _print(content: dict[str, Any]) -> None:
    from rich.table import Table

    console = out()
    for title in (
        *(
            "parameters",
            "adapters",
            "tasks",
            "vocabulary",
            "longest_sources",
            "decoding",
            "provenance",
        ),
        "settings",
    ):
        if not content[title]:
            continue
        table = Table(box=None, pad_edge=False, show_header=False)
        console.print(title.replace("_", " "), style="bold")
        match content[title]:
            case list() as tasks:
                for task in tasks:
                    languages = f"{task['source_language']} -> {task['target_language']}"
                    table.add_row(
                        f"  {task['name']}", task["kind"], task["source_modality"], languages
                    )
            case dict() as rows:
                if title == "adapters":  # a number for each task
                    rows = {"method": rows["method"]} | {
                        f"parameters of {task}": f"{number:,}"
                        for task, number in rows["parameters"].items()
                    }
                for name, value in _flat(rows).items():
                    shown = f"{value:,}" if title == "parameters" else _shown(value)
                    table.add_row(f"  {name}", shown)
        console.print(table, highlight=False)


def _shown(value: Any) -> str:
    """Return a value as it is shown: of many in a row the first."""
    if isinstance(value, list | tuple) and len(value) > _SHOWN:
        first = ", ".join(str(each) for each in value[:_SHOWN])
        return f"({first}, ...: {len(value)} in all; --json shows them)"
    return str(value)


def _flat(rows: dict[str, Any]) -> dict[str, Any]:
    """Return the rows, those of a section inside with the section's name before their own."""
    found: dict[str, Any] = {}
    for name, value in rows.items():
        inside = _flat(value) if isinstance(value, dict) else {}
        found |= {f"{name}.{key}": each for key, each in inside.items()} or {name: value}
    return found
