"""From manifests to a prepared folder."""

from taskaware.data.prepare.folder import PrepareReport, prepare
from taskaware.data.prepare.settings import PrepareSettings

__all__ = ["PrepareReport", "PrepareSettings", "prepare"]
