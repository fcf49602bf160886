"""Every command on a page can be typed as it stands there, and every command has its place."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from taskaware.cli.main import app

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    *(ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "benchmarks" / "README.md"),
    *sorted([*(ROOT / "docs").rglob("*.md"), *(ROOT / "experiments").rglob("README.md")]),
]
BLOCK = re.compile(r"^ *```sh\n(.*?)^ *```$", flags=re.DOTALL | re.MULTILINE)
BEFORE = re.compile(r"^(?:[A-Z_]+=\S* )*(?:torchrun .*-m )?taskaware ")


def commands(page: Path) -> list[str]:
    """The commands of ours in the blocks of a page, each on one line."""
    found: list[str] = []
    for block in BLOCK.findall(page.read_text(encoding="utf-8")):
        for line in block.replace("\\\n", " ").splitlines():
            for part in re.split(r" [|&]+ ", line.strip().removeprefix("$ ")):
                if BEFORE.match(part):
                    found.append(BEFORE.sub("", part).partition(" > ")[0])
    return found


def test_the_pages_have_commands():
    assert sum(len(commands(page)) for page in PAGES) > 80


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_of_a_page_is_one_with_its_options_and_values(page: Path):
    for line in commands(page):
        words = shlex.split(line, comments=True)
        try:
            app.parse_args(words, exit_on_error=False, print_error=False)
        except Exception as error:
            pytest.fail(f"taskaware {line}: {error}")


def test_every_command_has_its_heading_and_its_options_on_the_page_of_the_commands():
    text = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    names = [name for name in app if not name.startswith("-")]
    assert len(names) > 8
    for name in names:
        assert re.search(rf"^## {name}\n", text, flags=re.MULTILINE), name
        assert f"\n<!-- options of: {name} -->\n" in text, name


def test_the_completion_script_of_a_shell_knows_the_commands():
    for shell in ("bash", "zsh", "fish"):
        script = app.generate_completion(prog_name="taskaware", shell=shell)
        assert "evaluate" in script
        assert "predict" in script
