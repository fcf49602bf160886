"""How this program is called where its user types."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path


def own_name() -> str:
    """Return ``taskaware``, or where it is if the shell would not find it by that name.

    ``scripts/demo`` calls it by its path, in an environment that its user need not have activated.
    """
    here = Path(sys.executable).with_name("taskaware")
    found = shutil.which("taskaware")
    if not here.exists() or (found is not None and here.samefile(found)):
        return "taskaware"
    shown = here.relative_to(Path.cwd()) if here.is_relative_to(Path.cwd()) else here
    return shlex.quote(str(shown) if os.sep in str(shown) else f"./{shown}")


def own_command(*words: str | Path) -> str:
    """Return a command of this program as its user's shell reads it, whatever names are in it."""
    return f"{own_name()} {shlex.join(map(str, words))}"
