"""Corpora as they are released: one recipe a file, each yielding the rows of a manifest."""
