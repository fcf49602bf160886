"""What every way of keeping old tasks is to the training loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import torch

    from taskaware.types import Batch


class Retention(Protocol):
    """Adds to the gradients of an update what keeps the tasks that it does not train."""

    def add_gradient(
        self, batches: Sequence[Batch], generator: torch.Generator, *, share: float
    ) -> None:
        """Add its gradient to that of the model's parameters.

        Args:
            batches: The new tasks' batches of this update, on the model's device.
            generator: Draws the derangements.
            share: What the gradient is multiplied by, where an update has several groups.
        """
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return where it stands, as JSON, so that a resumed run is the same."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from where another stood."""
        ...
