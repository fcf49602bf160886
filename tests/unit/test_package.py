"""What the wheel and the source archive hold, built as a user builds them."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_bytes
from pathlib import Path, PurePosixPath

import pytest

import taskaware

builder = pytest.importorskip("hatchling.builders.wheel", reason="needs hatchling")
ROOT = Path(__file__).resolve().parents[2]
INFO = f"taskaware-{taskaware.__version__}.dist-info"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    (path,) = builder.WheelBuilder(str(ROOT)).build(
        directory=str(tmp_path_factory.mktemp("wheel")), versions=["standard"]
    )
    return zipfile.ZipFile(path)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    from hatchling.builders.sdist import SdistBuilder

    folder = str(tmp_path_factory.mktemp("archive"))
    (path,) = SdistBuilder(str(ROOT)).build(directory=folder, versions=["standard"])
    with tarfile.open(path) as file:
        return [name.partition("/")[2] for name in file.getnames()]


def test_the_wheel_holds_the_package_as_it_is_and_nothing_else(wheel: zipfile.ZipFile):
    held = set(wheel.namelist())
    sources = {
        str(path.relative_to(ROOT / "src"))
        for path in (ROOT / "src").rglob("*")
        if path.is_file() and path.suffix in {".py", ".css", ".js", ".html", ".typed", ".svg"}
    }
    others = {name for name in held - sources if not name.startswith(f"{INFO}/")}
    assert {name for name in others if PurePosixPath(name).suffix in {"", ".pyc"}} == set()
    assert all(name.startswith("taskaware/") for name in others)
    assert sources <= held
    assert "taskaware/py.typed" in held
    assert not [name for name in held if "test" in PurePosixPath(name).parts[0]]
    assert wheel.read(f"{INFO}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()


def test_the_command_works_from_the_wheel_in_an_empty_folder(
    wheel: zipfile.ZipFile, tmp_path: Path
):
    installed, empty = tmp_path / "installed", tmp_path / "empty"
    wheel.extractall(installed)
    empty.mkdir()
    code = "import sys, taskaware; print(taskaware.__file__, file=sys.stderr)"
    code += "; from taskaware.cli.main import run; sys.exit(run(['train', '--fields']))"
    for words in (["-m", "taskaware", "--help"], ["-c", code]):
        done = subprocess.run(
            [sys.executable, *words],
            cwd=empty,
            env={**os.environ, "PYTHONPATH": str(installed), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=True,
        )
        assert len(done.stdout.splitlines()) > 10
    where = Path(done.stderr.strip())
    assert where.is_relative_to(installed), "else it was the checkout that worked"
    assert list(empty.iterdir()) == []


def test_the_wheel_says_what_it_needs_and_gives_the_command(wheel: zipfile.ZipFile):
    about = message_from_bytes(wheel.read(f"{INFO}/METADATA"))
    assert (about["Name"], about["Version"]) == ("taskaware", taskaware.__version__)
    assert about["Requires-Python"] == ">=3.11"
    assert about["License-Expression"] == "MIT"
    needed = [line for line in about.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert 8 <= len(needed) <= 12, "few are needed; what is heavy is an extra"
    assert b"taskaware = taskaware.__main__:main" in wheel.read(f"{INFO}/entry_points.txt")


def test_the_source_archive_holds_what_a_checkout_needs_to_work(archive: list[str]):
    for name in (
        *("pyproject.toml", "constraints.txt", "README.md", "CONTRIBUTING.md", "LICENSE"),
        *("CHANGELOG.md", "CITATION.cff", "Dockerfile", ".dockerignore", "scripts/demo"),
        *("scripts/environment", "experiments/demo.toml", "studies/table3.toml"),
        *("docs/site/conf.py", "benchmarks/README.md", "tests/unit/test_package.py"),
        *("src/taskaware/py.typed", "docs/images/task_embeddings.png", ".ci/run"),
    ):
        assert name in archive
    parts = {part for name in archive for part in PurePosixPath(name).parts}
    assert parts.isdisjoint({"__pycache__", ".venv", ".venv-lowest", "runs", "build", "dist"})
    assert parts.isdisjoint({".git", ".pytest_cache", ".ruff_cache", ".hypothesis", "shared"})
