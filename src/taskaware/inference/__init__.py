"""A trained model in use."""

from taskaware.decoding.settings import with_beam
from taskaware.inference.model import TaskAwareModel, load

__all__ = ["TaskAwareModel", "load", "with_beam"]
