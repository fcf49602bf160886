"""Manifests: what a user says of the examples, line by line."""
