"""A model and its exports side by side: size, speed, agreement with PyTorch, score.

::

    python benchmarks/exports.py models/whisper --manifest test.tsv --task asr_en --to exports

Makes each form of ``taskaware export`` in the folder (or takes it from there), decodes the sources
of the manifest's task one after the other with all of them in turn, on one thread, and prints a
table: bytes, how many times as fast as the model in PyTorch (the median over sources, features not
counted), on how many sources the pieces are the same, the score against the manifest's targets. A
form that cannot represent the model is named with the reason.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

import taskaware
from taskaware.data.manifest.line import LineProblem
from taskaware.data.manifest.read import iterate_manifest
from taskaware.decoding.settings import with_beam
from taskaware.errors import TaskawareError
from taskaware.evaluation.machine import processor_name
from taskaware.evaluation.metrics import bleu, normalise_transcript, word_error_rate
from taskaware.export.exporting import export

if TYPE_CHECKING:
    from collections.abc import Callable

    from taskaware.inference.model import TaskAwareModel

    Decode = Callable[[np.ndarray], tuple[list[int], str]]

FORMS: dict[str, dict[str, Any]] = {
    "plain": {"form": "plain"},
    "onnx": {"form": "onnx"},
    "onnx, int8": {"form": "onnx", "int8": True},
    "ctranslate2": {"form": "ctranslate2"},
    "ctranslate2, int8": {"form": "ctranslate2", "int8": True},
}


@dataclass
class Row:
    """What was measured of a form."""

    name: str
    num_bytes: int
    decode: Decode
    seconds: list[float] = field(default_factory=list)
    pieces: list[list[int]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)


def main() -> None:
    """Export, decode, and print."""
    parser = argparse.ArgumentParser(description="Measure the exports of a model.")
    parser.add_argument("model", type=Path, help="a model's folder")
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--task", required=True)
    parser.add_argument("--to", type=Path, required=True, help="where the exports are, or come to")
    parser.add_argument("--beam", type=int, default=1)
    parser.add_argument("--limit", type=int, default=8, help="sources of the manifest")
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = taskaware.load(options.model, device="cpu")
    task = model.task(options.task)
    found = [
        line.example
        for line in itertools.islice(iterate_manifest(options.manifest), 100_000)
        if not isinstance(line, LineProblem) and line.example.task == options.task
    ][: options.limit]
    sources = [
        model.encode_source(source, task.source_modality)
        for one in found
        if (source := one.source_text or one.speech or one.features_path) is not None
    ]
    rows = [Row("PyTorch", size(options.model), of_ours(model, options.task, options.beam))]
    rows += made(model, options)
    for number, source in enumerate([sources[0], *sources]):  # the first one twice: a warm-up
        for row in rows:
            began = time.perf_counter()
            pieces, text = row.decode(source)
            if number:
                row.seconds.append(time.perf_counter() - began)
                row.pieces.append(pieces)
                row.texts.append(text)
        print(f"{number} of {len(sources)} sources", file=sys.stderr)
    show(rows, task.kind, [one.target_text for one in found], options)


def made(model: TaskAwareModel, options: argparse.Namespace) -> list[Row]:
    """Return a row for each form that can represent the model."""
    rows = []
    for name, how in FORMS.items():
        folder = options.to / name.replace(", ", "-")
        try:
            if not folder.exists():
                has_all = how["form"] == "onnx" and not model.transformer.adapters.tasks
                task = None if has_all else options.task
                export(model, folder=folder, task=task, **how)
        except TaskawareError as error:
            print(f"{name}: not possible: {error}")
            continue
        decode = opened(how["form"], folder, model, options)
        rows.append(Row(name, size(folder), decode))
    return rows


def size(folder: Path) -> int:
    """Return the bytes of a folder's files."""
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())


def opened(form: str, folder: Path, model: TaskAwareModel, options: argparse.Namespace) -> Decode:
    """Return what decodes with an export."""
    if form == "plain":
        return of_ours(taskaware.load(folder, device="cpu"), options.task, options.beam)
    if form == "onnx":
        from taskaware.export.standalone.decode import Model

        theirs = Model(folder, threads=1)

        def decode(source: np.ndarray) -> tuple[list[int], str]:
            best = theirs.decode(options.task, [source], beam=options.beam)[0]
            return best.pieces, best.text

        return decode
    is_text = model.task(options.task).modality.is_text
    return (of_translator if is_text else of_whisper)(folder, model, options)


def of_ours(model: TaskAwareModel, task: str, beam: int) -> Decode:
    """Return our own search."""
    decoding = with_beam(model.decoding, beam)

    def decode(source: np.ndarray) -> tuple[list[int], str]:
        best = model.decode(model.task(task), [source], decoding=decoding)[0][0]
        return list(best.token_ids), best.text

    return decode


def of_whisper(folder: Path, model: TaskAwareModel, options: argparse.Namespace) -> Decode:
    """Return CTranslate2's search for a Whisper."""
    import ctranslate2

    theirs = ctranslate2.models.Whisper(str(folder), device="cpu", intra_threads=1)
    about = json.loads((folder / "export.json").read_text(encoding="utf-8"))
    prompt = about["tasks"][0]["prompt"]

    def decode(source: np.ndarray) -> tuple[list[int], str]:
        features = ctranslate2.StorageView.from_array(np.ascontiguousarray(source.T[None]))
        found = theirs.generate(
            features,
            [prompt],
            beam_size=options.beam,
            length_penalty=model.decoding.length_penalty,
            no_repeat_ngram_size=model.decoding.no_repeat,
            suppress_tokens=list(model.decoding.suppressed),
        )
        pieces = found[0].sequences_ids[0]
        return pieces, model.vocabulary.decode(pieces)

    return decode


def of_translator(folder: Path, model: TaskAwareModel, options: argparse.Namespace) -> Decode:
    """Return CTranslate2's search for a text model."""
    import ctranslate2

    theirs = ctranslate2.Translator(str(folder), device="cpu", intra_threads=1)
    names = json.loads((folder / "shared_vocabulary.json").read_text(encoding="utf-8"))
    ids = {name: i for i, name in enumerate(names)}
    task = json.loads((folder / "export.json").read_text(encoding="utf-8"))["tasks"][0]
    never = [*model.vocabulary.NEVER, *model.decoding.suppressed]

    def decode(source: np.ndarray) -> tuple[list[int], str]:
        given = [*task["source_prefix"], *source.tolist(), *task["source_suffix"]]
        prefix = [names[i] for i in task["prompt"][1:]]
        found = theirs.translate_batch(
            [[names[i] for i in given]],
            target_prefix=[prefix] if prefix else None,
            beam_size=options.beam,
            length_penalty=model.decoding.length_penalty,
            min_decoding_length=0,
            max_decoding_length=len(given) + model.decoding.extra_pieces,
            max_input_length=0,
            suppress_sequences=[[names[i]] for i in never],
        )
        pieces = [ids[name] for name in found[0].hypotheses[0]][len(prefix) :]
        return pieces, model.vocabulary.decode(pieces)

    return decode


def show(rows: list[Row], kind: str, references: list[str], options: argparse.Namespace) -> None:
    """Print the table."""
    print(f"{processor_name()}, torch {torch.__version__}, 1 thread, beam {options.beam}")
    print(f"{len(references)} sources of {options.task}, one after the other\n")
    metric = "WER" if kind == "asr" else "BLEU"
    print(f"| form | MB | times as fast | same pieces | {metric} |\n|---|---:|---:|---:|---:|")
    for row in rows:
        ratios = [a / b for a, b in zip(rows[0].seconds, row.seconds, strict=True)]
        same = sum(a == b for a, b in zip(rows[0].pieces, row.pieces, strict=True))
        value = _score(row.texts, references, kind)
        print(
            f"| {row.name} | {row.num_bytes / 1e6:.1f} | {statistics.median(ratios):.2f} "
            f"| {same} of {len(references)} | {value:.1f} |"
        )


def _score(texts: list[str], references: list[str], kind: str) -> float:
    """Return the word error rate of texts in one spelling, or BLEU."""
    if kind != "asr":
        return bleu(texts, references).points
    hypotheses, expected = (
        [normalise_transcript(text) for text in each] for each in (texts, references)
    )
    return word_error_rate(hypotheses, expected).points


if __name__ == "__main__":
    main()
