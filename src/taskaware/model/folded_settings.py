"""What is left of a task's modulation in a model that is exported for that task alone."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class FoldedSettings:
    """Constants in the place of a task embedding, where no weight could take them up.

    `taskaware export --as plain` makes such models; there is no need to set any of it by hand.

    Attributes:
        source: Whether the preprocessed source is scaled and shifted by a constant vector each.
        target: The same for the embedded target.
        encoder_residuals: Whether what enters an encoder block's last sum is scaled by a constant
            vector (of `norm` pre: behind a post-norm the scale is in the norm).
        decoder_residuals: The same for the decoder.
    """

    source: bool = False
    target: bool = False
    encoder_residuals: bool = False
    decoder_residuals: bool = False
