"""Install the libraries that ``training.py`` compares with into a folder of their own.

    python benchmarks/peer_packages.py --to peer-packages

Without what they depend on, which would replace torch by another build: only the few packages that
their models ask for at import. torch, NumPy and the rest are this environment's. Two are cut:

- fairseq is built without its compiled extensions (its setup.py leaves them out for Read the Docs),
  which its models and losses do not use.
- torchaudio, which SpeechBrain imports, loses its compiled part, which wants CUDA's libraries.
  Nothing of it runs here.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

PEERS = ("fairseq-fixed==0.12.3.1", "speechbrain==1.1.0", "joeynmt==2.3.0", "eole==0.6.4")
ASKED_FOR_AT_IMPORT = (
    *("hydra-core==1.3.2", "omegaconf==2.3.0", "antlr4-python3-runtime==4.9.3", "bitarray"),
    *("hyperpyyaml", "ruamel.yaml", "torchaudio", "importlib_metadata==8.5.0", "zipp"),
    *("subword-nmt", "pyonmttok", "pyahocorasick", "configargparse"),
)
# What fairseq's setup.py imports, which pip must not fetch into an environment of the build's own:
# torch is one of them.
BUILT_WITH = ("setuptools<80", "wheel", "cython")


def main() -> None:
    """Fill the folder; refuse one that has something in it."""
    parser = argparse.ArgumentParser(description="Installs other libraries to compare with.")
    parser.add_argument("--to", type=Path, required=True, help="a new folder")
    folder: Path = parser.parse_args().to
    if folder.exists() and any(folder.iterdir()):
        parser.error(f"--to must be a new or an empty folder; {folder} has something in it")
    tools = folder / "built-with"
    _install(tools, BUILT_WITH)
    _install(
        folder,
        (*PEERS, *ASKED_FOR_AT_IMPORT),
        "--no-deps",
        "--no-build-isolation",
        READTHEDOCS="1",
        PYTHONPATH=str(tools.resolve()),
    )
    shutil.rmtree(tools)
    shutil.rmtree(folder / "torchaudio" / "lib", ignore_errors=True)


def _install(folder: Path, packages: tuple[str, ...], *options: str, **environment: str) -> None:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(folder)]
    subprocess.run([*command, *options, *packages], check=True, env={**os.environ, **environment})


if __name__ == "__main__":
    main()
