"""A prepared folder: its shards, where it is stored, and how it is opened."""

from taskaware.data.prepared.folder import PreparedData

__all__ = ["PreparedData"]
