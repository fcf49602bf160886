"""Recordings: their samples, their features, and how both can be changed."""
