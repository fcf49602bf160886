"""Synthetic targets and sources: translations, other signals, and speech that nobody spoke."""
