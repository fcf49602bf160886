"""Completion in shells: what cyclopts writes, and what bash needs beside it."""

from __future__ import annotations

from typing import Literal

from cyclopts import App

# Names of files are completed as names of files: a folder with a slash, so that one can go on, and
# not with a space. Where nothing is known of a word, files are offered, as bash does by itself.
_FOR_BASH = "complete -o filenames -o default -F _{name} {name}\n"


class CompletedApp(App):
    """An application whose completion works on folders in bash, too."""

    def generate_completion(
        self,
        *,
        prog_name: str | None = None,
        shell: Literal["zsh", "bash", "fish", "powershell"] | None = None,
    ) -> str:
        """Return the script that completes words in a shell; ``None``: in this one."""
        script = super().generate_completion(prog_name=prog_name, shell=shell)
        if script.startswith("# Bash"):
            script += _FOR_BASH.format(name=prog_name or self.name[0])
        return script
