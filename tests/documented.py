"""The commands and files that a page of the documentation has."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


class Page:
    """A page under ``docs/``."""

    def __init__(self, name: str) -> None:
        self.text = (ROOT / "docs" / name).read_text(encoding="utf-8")

    def blocks(self, kind: str) -> list[str]:
        """The contents of the blocks of a kind: ``sh``, ``toml``, ``python`` or none."""
        return re.findall(rf"^```{kind}\n(.*?)^```$", self.text, flags=re.MULTILINE | re.DOTALL)

    def commands(self, program: str = "") -> list[list[str]]:
        """The commands of a program, or of all, each as its words."""
        lines = "".join(self.blocks("sh")).replace("\\\n", " ").splitlines()
        words = [shlex.split(line, comments=True) for line in lines]
        return [one for one in words if not program or one[0] == program]
