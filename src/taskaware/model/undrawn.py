"""A model whose weights are read need not be drawn at random first.

Drawing takes about 10 ns a number, of a model of 1,500 million a quarter of a minute, and would
leave torch's generator otherwise than it was in the process of who loads a model.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.nn import init
from torch.overrides import TorchFunctionMode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_DRAWS = {
    *(init.uniform_, init.normal_, init.trunc_normal_),
    *(init.xavier_uniform_, init.xavier_normal_, init.kaiming_uniform_, init.kaiming_normal_),
    *(Tensor.uniform_, Tensor.normal_),
}


class _Undrawn(TorchFunctionMode):
    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func in _DRAWS:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


@contextmanager
def undrawn() -> Iterator[None]:
    """Make modules whose random weights are whatever is in memory: all must be loaded after."""
    with _Undrawn():
        yield
