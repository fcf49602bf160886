"""``taskaware`` and ``python -m taskaware``."""

import sys

from taskaware.large_pages import restart_with_large_pages

# The commands that compute for a while.
_COMPUTING = frozenset(
    ("demo", "prepare", "augment", "train", "study", "evaluate", "predict", "serve", "export")
)


def main() -> None:
    """Run the command line."""
    if _COMPUTING & set(sys.argv[1:2]):
        restart_with_large_pages()  # before anything else takes time
    from taskaware.cli.main import main as command_line

    command_line()


if __name__ == "__main__":
    main()
