"""FiLM and a look inside by hooks: how blocks that others wrote are modulated, unchanged.

Shape legend: B batch, R rows of a forward (B, or k * B where k beams are searched), S source
positions, T target positions, X positions of either, D d_model, L modulated places, O size of t_e.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from taskaware.errors import UserError, counted, nearest
from taskaware.model.film import Film

Blocks = Mapping[str, str | Iterable[str | nn.Module]]
Groups = dict[str, dict[str, nn.Module]]  # group -> dotted name -> block, in the order of running

SOURCE, TARGET = "encoder", "decoder"  # the groups whose entrances a task network can read


class HookedBlocks:
    """The blocks of a module, hooked: idle until a t_e acts or what enters them is asked for.

    Places are counted over all groups in their order: what enters the first block of a group, then
    what each of its blocks returns.

    Args:
        module: What the blocks are parts of.
        groups: Its blocks, from ``find_groups``.
        d_model: Width D of all of them.
        batch_first: False where sequences are ``[S, B, D]``.
    """

    def __init__(
        self, module: nn.Module, groups: Groups, *, d_model: int, batch_first: bool
    ) -> None:
        self.module = module
        self.d_model = d_model
        self.batch_first = batch_first
        self._handles: list[Any] = []
        self._without_nested_tensors: list[nn.TransformerEncoder] = []
        self._current: Callable[[], Tensor] | None = None  # t_e while it acts
        self._captured: dict[str, Tensor] | None = None  # while `capture` runs
        for part in module.modules():
            # Its layers lose their fused path by the hooks, and cannot read nested tensors then.
            if isinstance(part, nn.TransformerEncoder) and part.use_nested_tensor:
                self._without_nested_tensors.append(part)
                part.use_nested_tensor = False
        place = 0
        for group, blocks in groups.items():
            for number, (name, block) in enumerate(blocks.items()):
                if number == 0:
                    enter = partial(self._enter_group, group, place)
                    handle = block.register_forward_pre_hook(enter, with_kwargs=True)
                    self._handles.append(handle)
                leave = partial(self._leave_block, name, place + 1 + number)
                self._handles.append(block.register_forward_hook(leave))
            place += 1 + len(blocks)

    @property
    def in_use(self) -> bool:
        """Whether a t_e acts now."""
        return self._current is not None

    def remove(self) -> None:
        """Take the hooks away."""
        for handle in self._handles:
            handle.remove()
        for encoder in self._without_nested_tensors:
            encoder.use_nested_tensor = True

    @contextmanager
    def modulated_by(self, embedding: Callable[[], Tensor]) -> Iterator[None]:
        """Let t_e ``[B, O]`` or ``[1, O]`` act on every forward inside; asked for at each place."""
        before, self._current = self._current, embedding
        try:
            yield
        finally:
            self._current = before

    def capture(self, examples: Mapping[str, Any], *, gradient: bool) -> tuple[Tensor, Tensor]:
        """Run the module up to its decoder; return what enters encoder and decoder, batch first.

        Args:
            examples: Keyword arguments of the module's forward.
            gradient: Whether the graph is kept.

        Raises:
            UserError: One of the two did not run.
        """
        current, self._current = self._current, None
        self._captured = captured = {}
        try:
            with (
                torch.set_grad_enabled(gradient and torch.is_grad_enabled()),
                suppress(_AllCaptured),
            ):
                self.module(**examples)
        finally:
            self._current, self._captured = current, None
        for group in (SOURCE, TARGET):
            if group not in captured:
                raise UserError(
                    f"`examples` must make the blocks of group '{group}' run, but its first block "
                    "did not. Give the source and the target (labels, or the decoder's input)."
                )
        return captured[SOURCE], captured[TARGET]

    def _enter_group(
        self, group: str, place: int, block: nn.Module, args: tuple, kwargs: dict[str, Any]
    ) -> tuple[tuple, dict[str, Any]] | None:
        """Before the first block of a group: what the preprocessing layers return."""
        if self._current is None and self._captured is None:
            return None
        keyword = None if args else _first_parameter(block)
        x = args[0] if args else kwargs.get(str(keyword))
        if not isinstance(x, Tensor):
            raise UserError(
                f"the first argument of the first block of group '{group}' must be its sequence "
                f"(a tensor), but is of type {type(x).__name__} instead. Choose other `blocks`."
            )
        if self._captured is not None:
            # A copy, because some blocks change their input in place.
            self._captured[group] = (x if self.batch_first else x.transpose(0, 1)).clone()
            if {SOURCE, TARGET} <= set(self._captured):
                raise _AllCaptured
            return None
        x = self._modulate(x, place, f"the entrance of group '{group}'")
        if keyword is None:
            return (x, *args[1:]), kwargs
        return args, {**kwargs, keyword: x}

    def _leave_block(self, name: str, place: int, block: nn.Module, args: tuple, out: Any) -> Any:
        """After a block: its output, or the first thing of several, is what the next one sees."""
        if self._current is None:
            return None
        match out:
            case Tensor():
                return self._modulate(out, place, f"block '{name}'")
            case Mapping():  # Hugging Face's ModelOutput too
                key = next(iter(out))
                first = self._modulate(out[key], place, f"block '{name}'")
                return type(out)(**{**out, key: first})
            case tuple() | list():
                changed = [self._modulate(out[0], place, f"block '{name}'"), *out[1:]]
                make: Callable[[list], Any] = getattr(type(out), "_make", type(out))
                return make(changed)
        raise UserError(
            f"block '{name}' must return a tensor, or a tuple or mapping that begins with one, "
            f"but returns {type(out).__name__} instead. Choose other `blocks`."
        )

    def _modulate(self, x: Tensor, place: int, where: str) -> Tensor:
        """Equation 7 at one place, for ``[R, ..., D]`` (or ``[S, R, D]``)."""
        assert self._current is not None
        if x.shape[-1] != self.d_model:
            raise UserError(
                f"all `blocks` must have one width, `d_model` ({self.d_model}), but {where} has "
                f"{x.shape[-1]} instead. Give its `d_model`, or groups of one width."
            )
        swapped = not self.batch_first and x.dim() > 2
        x_RXD = x.transpose(0, 1) if swapped else x
        num_rows = x_RXD.shape[0]
        film = Film.from_task_embedding(self._current(), self.d_model)
        gamma_RLD = _for_rows(film.gamma_BLD, num_rows, where).to(x)
        beta_RLD = _for_rows(film.beta_BLD, num_rows, where).to(x)
        out = Film(gamma_RLD, beta_RLD)(x_RXD.reshape(num_rows, -1, self.d_model), place)
        out = out.reshape(x_RXD.shape)
        return out.transpose(0, 1) if swapped else out


class _AllCaptured(Exception):  # noqa: N818
    """No error, but the end of a forward: everything that was to be captured is there."""


def find_groups(module: nn.Module, blocks: Blocks) -> Groups:
    """Return the blocks of each group by their dotted names."""
    name_of = {id(part): name for name, part in module.named_modules()}
    groups: Groups = {}
    seen: set[int] = set()
    for group, given in blocks.items():
        if isinstance(given, str):
            stack = _submodule(module, given, group)
            if not isinstance(stack, nn.ModuleList | nn.Sequential):
                raise UserError(
                    f"group '{group}' of `blocks` must name an nn.ModuleList or nn.Sequential, but "
                    f"'{given}' is of type {type(stack).__name__}. Name a stack, or a list of "
                    f"blocks: ['{given}']."
                )
            given = list(stack)
        found = [_submodule(module, b, group) if isinstance(b, str) else b for b in given]
        for block in found:
            if id(block) not in name_of or id(block) in seen:
                problem = "is used twice" if id(block) in seen else "is no part of the module"
                raise UserError(
                    f"group '{group}' of `blocks` must hold parts of the module, each of them once "
                    f"in all groups, but a {type(block).__name__} {problem}"
                )
            seen.add(id(block))
        groups[group] = {name_of[id(block)]: block for block in found}
    empty = [group for group, found in groups.items() if not found]
    if empty or not groups:
        where = f"group '{empty[0]}' of `blocks`" if empty else "`blocks`"
        raise UserError(f"{where} must hold at least one block, but is empty")
    return groups


def _submodule(module: nn.Module, name: str, group: str) -> nn.Module:
    parts = dict(module.named_modules(remove_duplicate=False))
    if name not in parts:
        raise UserError(
            f"group '{group}' of `blocks` must name parts of the module, but it has no "
            f"'{name}'{nearest(name, parts)}"
        )
    return parts[name]


def find_width(module: nn.Module) -> int:
    """Return D as ``module.config`` or ``module`` tells it: its ``d_model`` or ``hidden_size``."""
    for source in (getattr(module, "config", None), module):
        for field in ("d_model", "hidden_size"):
            if isinstance(width := getattr(source, field, None), int):
                return width
    raise UserError(
        "`d_model` must be given: neither the module nor its `config` has a `d_model` or "
        "`hidden_size`. It is the last dimension of a block's output."
    )


def _first_parameter(block: nn.Module) -> str:
    """Return the name of the first argument of a block's forward: its sequence."""
    return next(iter(inspect.signature(block.forward).parameters), "")


def _for_rows(numbers_BLD: Tensor, num_rows: int, where: str) -> Tensor:
    """Return the numbers for each row, or one row of them for all."""
    B = numbers_BLD.shape[0]
    if B in (1, num_rows):
        return numbers_BLD
    if num_rows % B:
        raise UserError(
            f"the task embedding must be of 1 example or of as many as the batch has, but it is of "
            f"{B} while {where} has {counted(num_rows, 'row')}. (Is `batch_first` right?)"
        )
    return numbers_BLD.repeat_interleave(num_rows // B, dim=0)
