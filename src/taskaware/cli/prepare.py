"""``taskaware prepare``: check manifests, compute features, learn the vocabulary."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from taskaware.cli.display import out, stage_display


def prepare(
    *,
    to: Path,
    train: Annotated[tuple[Path, ...], Parameter(negative=(), show_default=False)] = (),
    dev: Annotated[tuple[Path, ...], Parameter(negative=(), show_default=False)] = (),
    test: Annotated[tuple[Path, ...], Parameter(negative=(), show_default=False)] = (),
    vocabulary_size: int | None = None,
    vocabulary: Path | None = None,
    max_bad_share: float | None = None,
    max_seconds: float | None = None,
) -> int:
    """Turn manifests into a folder that `train` and `evaluate` read.

    A manifest is a tab-separated (.tsv) or JSON-lines (.jsonl) file; docs/data.md describes its
    columns. Every line is checked: what is wrong is listed in report.tsv, counted and left out.

    Parameters
    ----------
    to
        The folder to write.
    train
        Manifests to train on; give the option once for each.
    dev
        Manifests to validate on.
    test
        Manifests to test on.
    vocabulary_size
        Word pieces to learn from the training texts (default 8000).
    vocabulary
        An existing vocabulary.model to use instead, for example a trained model's.
    max_bad_share
        Stop if more than this share of a split must be left out (default 0.05).
    max_seconds
        Leave out longer recordings (default 40).
    """
    from dataclasses import replace

    from taskaware.data.prepare import PrepareSettings
    from taskaware.data.prepare import prepare as run_prepare

    settings = PrepareSettings()
    if vocabulary_size is not None:
        settings = replace(settings, vocabulary_size=vocabulary_size)
    if max_bad_share is not None:
        settings = replace(settings, max_bad_share=max_bad_share)
    if max_seconds is not None:
        settings = replace(settings, checks=replace(settings.checks, max_seconds=max_seconds))
    manifests = {"train": train, "dev": dev, "test": test}
    given = {name: paths for name, paths in manifests.items() if paths}
    with stage_display() as progress:
        report = run_prepare(given, to, settings, vocabulary=vocabulary, progress=progress)
    console = out()
    if report.reused:
        console.print(f"{to} is complete already.")
    for line in report.summary_lines():
        console.print(line, highlight=False)
    for warning in report.warnings:
        console.print(f"warning: {warning}", highlight=False)
    return 0
