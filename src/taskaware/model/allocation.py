"""A limit on the numbers that a model is made of, found out before they are allocated.

Settings of a stranger's may claim a width of a billion. To build the model on torch's device `meta`
first would tell its size as well, but loads torch's compiler: seconds at every start of a command.
"""

from __future__ import annotations

import math
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch.overrides import TorchFunctionMode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_OF_SIZES = {torch.empty, torch.zeros, torch.ones, torch.rand, torch.randn, torch.eye}
_OF_A_SIZE = {torch.full, torch.arange}


class _Limit(TorchFunctionMode):
    """Counts what functions of torch that make tensors are asked for."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._left = most

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func in _OF_SIZES or func in _OF_A_SIZE:
            sizes = kwargs.get("size", args if func in _OF_SIZES else args[:1])
            self._left -= _num_values(sizes)
            if self._left < 0:
                raise ValueError("its sizes are larger than its weights can be")
        return func(*args, **kwargs)


def _num_values(sizes: Any) -> int:
    """Return the product of sizes, however they are nested."""
    if isinstance(sizes, int):
        return sizes
    is_nested = isinstance(sizes, list | tuple)
    return math.prod(map(_num_values, sizes)) if is_nested else 1


@contextmanager
def at_most(num_values: int) -> Iterator[None]:
    """Let tensors be made of so many numbers together.

    Raises:
        ValueError: More are asked for; they are not allocated.
    """
    with _Limit(num_values):
        yield
