"""``python -m taskaware``."""

from taskaware.cli.main import main

if __name__ == "__main__":
    main()
