"""Synthetic examples as manifests: translations, changed signals, and synthetic speech.

What is changed during training instead is ``data.sound.augmentation``.
"""
