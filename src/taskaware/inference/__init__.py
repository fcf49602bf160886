"""A trained model in use."""

from taskaware.inference.model import TaskAwareModel, load, with_beam

__all__ = ["TaskAwareModel", "load", "with_beam"]
