"""Typed settings: read from TOML, checked, written back."""

from taskaware.settings.template import describe
from taskaware.settings.typed import (
    dump,
    from_mapping,
    load,
    require_valid,
    to_mapping,
)

__all__ = ["describe", "dump", "from_mapping", "load", "require_valid", "to_mapping"]
