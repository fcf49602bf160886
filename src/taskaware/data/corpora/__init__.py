"""Corpora as they are handed out: one recipe a file, each yielding the rows of a manifest."""
