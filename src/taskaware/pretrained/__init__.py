"""Pretrained models of other libraries, imported: everything about them but their weights."""
