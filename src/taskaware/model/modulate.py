"""Any PyTorch encoder-decoder made task-aware: FiLM around the blocks that it already has.

Nothing of the module is rewritten. Hooks (``hooked_blocks``) scale and shift what its blocks put
out, and what enters the first block of each group: what the preprocessing layers return. ::

    aware = modulate(
        model,
        blocks={"encoder": "model.encoder.layers", "decoder": "model.decoder.layers"},
        tasks=("asr_en", "st_en_de"),
    )
    with aware.task("st_en_de"):
        loss = model(input_features=features, labels=labels).loss

Shape legend: B batch, S source positions, T target positions, D d_model, L modulated places, O size
of t_e (2 D, or L * 2 D).
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from taskaware.errors import CheckpointError, UnknownTaskError, UserError, nearest
from taskaware.model.conditioning_settings import ConditioningSettings
from taskaware.model.hooked_blocks import Blocks, HookedBlocks, find_groups, find_width
from taskaware.model.settings import ModelSettings
from taskaware.model.task_network import (
    ExplicitTaskNetwork,
    ImplicitTaskNetwork,
    identity_bias,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from taskaware.model.film import FilmScope

Network = Literal["explicit", "implicit"]
Trained = Literal["task_network", "everything"]


def modulate(
    module: nn.Module,
    *,
    blocks: Blocks,
    tasks: Sequence[str] = (),
    d_model: int | None = None,
    network: Network = "explicit",
    scope: FilmScope = "shared",
    train: Trained = "task_network",
    batch_first: bool = True,
    sizes: ConditioningSettings | None = None,
) -> TaskAware:
    """Put a task network and FiLM around the blocks of any module, in place.

    Until something is trained the outputs are exactly those of the module as it was: gamma is 1 and
    beta 0. Outside of ``with aware.task(...)`` and ``with aware.embedding(...)`` they always are.

    Args:
        module: Any encoder-decoder, or any stack of blocks of one width.
        blocks: Named groups in the order of running. Each is the dotted name of an
            ``nn.ModuleList`` or ``nn.Sequential``, or a sequence of blocks or of their dotted
            names. The implicit network reads what enters the groups "encoder" and "decoder".
        tasks: Names of the tasks. Explicit: all of them. Implicit: those to be remembered.
        d_model: Width D of the blocks' outputs; by default that of ``module.config`` or
            ``module`` (its ``d_model`` or ``hidden_size``).
        network: "explicit": a one-hot task (equation 1). "implicit": examples (equations 2 to 5).
        scope: "shared": one gamma and beta for all places (the paper). "per_block": a pair for
            each, counted over all groups, the entrance of each group first.
        train: "task_network" freezes every parameter that the module had, until ``remove``.
            "everything" leaves ``requires_grad`` as it is.
        batch_first: False where sequences are ``[S, B, D]``, as ``nn.Transformer`` has by default.
        sizes: ``d_task``, ``d_task_ff`` and ``num_task_heads`` of the implicit network.

    Returns:
        What chooses the task. It is also ``module.task_aware``, so that its parameters train, move
        and are saved with the module's.

    Raises:
        UserError: A block or a width cannot be found, a value is impossible, or the module is
            modulated already.
    """
    if hasattr(module, "task_aware") or any(isinstance(m, TaskAware) for m in module.modules()):
        raise UserError(
            "`module` must not be modulated yet, but has a `task_aware` already. Use that one, or "
            "call its `remove()` first."
        )
    _check_choice("network", network, ("explicit", "implicit"))
    _check_choice("scope", scope, ("shared", "per_block"))
    _check_choice("train", train, ("task_network", "everything"))
    groups = find_groups(module, blocks)
    width = find_width(module) if d_model is None else d_model
    num_places = sum(1 + len(group) for group in groups.values()) if scope == "per_block" else 1
    task_network = _create_network(network, tasks, width, num_places, sizes)
    parameters = list(module.parameters())
    hooked = HookedBlocks(module, groups, d_model=width, batch_first=batch_first)
    aware = TaskAware(task_network, tuple(tasks), hooked)
    aware.train(module.training)
    if parameters:
        aware.to(parameters[0].device)
    if train == "task_network":
        aware._freeze(parameters)
    module.add_module("task_aware", aware)
    return aware


class TaskAware(nn.Module):
    """Chooses the task of a modulated module; ``modulate`` makes it.

    Its own state dict is the task network alone, in float32 whatever the module has; gamma and beta
    are cast to a block's output. One thread at a time may use a modulated module.

    Attributes:
        network: The task network.
        tasks: Names of the tasks.
    """

    network: ExplicitTaskNetwork | ImplicitTaskNetwork
    task_names: Tensor
    mean_embeddings: Tensor
    is_remembered: Tensor

    def __init__(
        self,
        network: ExplicitTaskNetwork | ImplicitTaskNetwork,
        tasks: tuple[str, ...],
        hooked: HookedBlocks,
    ) -> None:
        super().__init__()
        self.network = network
        self.tasks = tasks
        self.register_buffer("task_names", _as_bytes(tasks))
        if isinstance(network, ImplicitTaskNetwork):
            num_numbers = network.output.out_features
            self.register_buffer("mean_embeddings", torch.zeros(len(tasks), num_numbers))
            self.register_buffer("is_remembered", torch.zeros(len(tasks), dtype=torch.bool))
        self.register_load_state_dict_pre_hook(_refuse_other_tasks)
        # It knows the module, but is no module itself: what it knows is no submodule of ours.
        self._hooked: HookedBlocks | None = hooked
        self._frozen: list[nn.Parameter] = []

    @contextmanager
    def task(self, name: str | Sequence[str]) -> Iterator[None]:
        """Modulate every forward inside by a task: its row (explicit), its mean t_e (implicit).

        Args:
            name: One task, or a task for each example of the batch.

        Raises:
            UnknownTaskError: There is no such task, or its t_e was never remembered (implicit).
        """
        names = [name] if isinstance(name, str) else list(name)
        index_B = torch.tensor([self._index(n) for n in names], device=self.task_names.device)
        if isinstance(self.network, ExplicitTaskNetwork):
            # Computed again at each place, so that a `with` may hold many updates.
            with self._blocks().modulated_by(partial(self.network, index_B)):
                yield
            return
        for n, index in zip(names, index_B.tolist(), strict=True):
            if not self.is_remembered[index]:
                raise UnknownTaskError(
                    f"the embedding of task '{n}' must be remembered, but is not. Call "
                    f"`remember('{n}', embed_examples(...))` with examples of it, or load a state."
                )
        with self._blocks().modulated_by(partial(self.mean_embeddings.__getitem__, index_B)):
            yield

    @contextmanager
    def embedding(self, task_embedding: Tensor) -> Iterator[None]:
        """Modulate every forward inside by t_e ``[B, O]``, or ``[1, O]`` for all rows.

        Where a forward has k * B rows (beams), each t_e acts on k rows that follow one another.

        Raises:
            UserError: It is of another shape.
        """
        num_numbers = self._num_numbers()
        if task_embedding.dim() != 2 or task_embedding.shape[1] != num_numbers:
            raise UserError(
                f"`task_embedding` must be [B, {num_numbers}], but is "
                f"{list(task_embedding.shape)} instead"
            )
        with self._blocks().modulated_by(lambda: task_embedding):
            yield

    def embed_examples(
        self,
        examples: Mapping[str, Any],
        *,
        source_lengths: Tensor | None = None,
        target_lengths: Tensor | None = None,
        gradient_reaches_module: bool = False,
    ) -> Tensor:
        """Return t_e ``[B, O]`` of examples (equations 2 to 5), differentiable.

        The module runs up to the first block of its decoder, unmodulated and in the mode
        (``train``, ``eval``) that it is in.

        Args:
            examples: Keyword arguments of the module's forward, source and target among them.
            source_lengths: int64 ``[B]``, in positions that enter the encoder (so after any
                convolutions), or a mask ``[B, S]`` of them, true where valid, padding at the end.
                By default all positions are valid.
            target_lengths: The same for what enters the decoder.
            gradient_reaches_module: Whether the gradient of t_e also reaches the module's
                preprocessing layers. By default it does not.

        Raises:
            UserError: The network is explicit, a group did not run, or lengths do not fit.
        """
        self._implicit()
        source_BSD, target_BTD = self._blocks().capture(examples, gradient=gradient_reaches_module)
        return self.embed(
            source_BSD,
            _valid_lengths(source_lengths, source_BSD, "source_lengths"),
            target_BTD,
            _valid_lengths(target_lengths, target_BTD, "target_lengths"),
        )

    def embed(
        self, source_BSD: Tensor, source_lengths: Tensor, target_BTD: Tensor, target_lengths: Tensor
    ) -> Tensor:
        """Return t_e ``[B, O]`` of preprocessed sources and embedded targets.

        Args:
            source_BSD: What enters the first block of the encoder, batch first.
            source_lengths: int64 ``[B]``.
            target_BTD: What enters the first block of the decoder, batch first.
            target_lengths: int64 ``[B]``.

        Raises:
            UserError: The network is explicit.
        """
        network = self._implicit()
        weight = network.output.weight
        return network(
            source_BSD.to(weight), source_lengths.to(weight.device),
            target_BTD.to(weight), target_lengths.to(weight.device),
        )  # fmt: skip

    @torch.no_grad()
    def remember(self, name: str, embeddings: Tensor) -> None:
        """Store the mean of ``embeddings [B, O]`` as the t_e of a task.

        It travels in the state dict, and ``with aware.task(name)`` then needs no examples.

        Raises:
            UserError: The network is explicit, or the shape is another.
            UnknownTaskError: There is no such task.
        """
        self._implicit()
        if embeddings.dim() != 2 or embeddings.shape[1] != self._num_numbers():
            raise UserError(
                f"`embeddings` must be [B, {self._num_numbers()}], but is "
                f"{list(embeddings.shape)} instead"
            )
        index = self._index(name)
        self.mean_embeddings[index] = embeddings.mean(dim=0).to(self.mean_embeddings)
        self.is_remembered[index] = True

    def remove(self) -> None:
        """Make the module again what it was: no hooks, no ``task_aware``, nothing frozen.

        Raises:
            UserError: It was removed before, or is in use.
        """
        hooked = self._blocks()
        if hooked.in_use:
            raise UserError("`remove` must be called outside of every `with`, but is inside of one")
        hooked.remove()
        del hooked.module.task_aware
        for parameter in self._frozen:
            parameter.requires_grad_(True)
        self._hooked = None

    def _freeze(self, parameters: Sequence[nn.Parameter]) -> None:
        self._frozen = [p for p in parameters if p.requires_grad]
        for parameter in self._frozen:
            parameter.requires_grad_(False)

    def _blocks(self) -> HookedBlocks:
        if self._hooked is None:
            raise UserError("this was removed from its module: call `modulate` again")
        return self._hooked

    def _index(self, name: str) -> int:
        if name not in self.tasks:
            raise UnknownTaskError(
                f"task must be one of {list(self.tasks)}, but is {name!r} instead"
                f"{nearest(str(name), self.tasks)}. Name all `tasks` in `modulate`."
            )
        return self.tasks.index(name)

    def _implicit(self) -> ImplicitTaskNetwork:
        if isinstance(self.network, ImplicitTaskNetwork):
            return self.network
        raise UserError(
            "only an implicit network reads examples, but this one is explicit. "
            "Choose the task by `task(name)`, or call `modulate` with network='implicit'."
        )

    def _num_numbers(self) -> int:
        if isinstance(self.network, ImplicitTaskNetwork):
            return self.network.output.out_features
        return self.network.bias.numel()


def _create_network(
    network: Network,
    tasks: Sequence[str],
    d_model: int,
    num_places: int,
    sizes: ConditioningSettings | None,
) -> ExplicitTaskNetwork | ImplicitTaskNetwork:
    """Return a task network whose t_e is exactly the identity: the last weights are zero."""
    if isinstance(tasks, str) or len(set(tasks)) < len(tasks):
        raise UserError(f"`tasks` must be different names, but is {tasks!r} instead")
    initial = identity_bias(d_model, num_places)
    if network == "explicit":
        if not tasks:
            raise UserError("`tasks` must name at least one task for an explicit network")
        explicit = ExplicitTaskNetwork(len(tasks), initial)
        nn.init.zeros_(explicit.rows)
        return explicit
    sizes = sizes or ConditioningSettings()
    for field, message in sizes.validate():
        raise UserError(f"`sizes`: `{field}` {message}")
    implicit = ImplicitTaskNetwork(
        d_model,
        d_task=sizes.d_task,
        d_task_ff=sizes.d_task_ff,
        num_heads=sizes.num_task_heads,
        dropout=ModelSettings.dropout,
        initial_embedding=initial,
        normalises=True,  # what enters the blocks of any module may be of any size
    )
    nn.init.zeros_(implicit.output.weight)
    return implicit


def _valid_lengths(given: Tensor | None, x_BSD: Tensor, argument: str) -> Tensor:
    """Return int64 ``[B]`` from lengths, from a mask ``[B, S]``, or all positions."""
    B, S = x_BSD.shape[:2]
    if given is None:
        return torch.full((B,), S, device=x_BSD.device)
    given = given.to(x_BSD.device)
    if given.shape == (B, S):
        valid = given.bool()
        if (valid[:, 1:] & ~valid[:, :-1]).any():
            raise UserError(f"`{argument}`: a mask must have its padding at the end")
        given = valid.sum(dim=1)
    if given.shape != (B,) or given.is_floating_point() or ((given < 1) | (given > S)).any():
        raise UserError(
            f"`{argument}` must be [{B}] whole numbers from 1 to {S}, or a mask [{B}, {S}], of the "
            f"positions that enter the blocks, but is {given.dtype} {list(given.shape)} instead, "
            f"or has others among its numbers"
        )
    return given.long()


def _as_bytes(tasks: Sequence[str]) -> Tensor:
    """Return the names as uint8, one a line: a form that every state dict can hold."""
    return torch.tensor(list("\n".join(tasks).encode()), dtype=torch.uint8)


def _refuse_other_tasks(aware: TaskAware, state: Mapping[str, Any], prefix: str, *_: Any) -> None:
    """Refuse a state of other tasks, or of the same in another order: rows would be swapped."""
    names = state.get(f"{prefix}task_names")
    if names is not None and not torch.equal(names.cpu(), _as_bytes(aware.tasks)):
        theirs = bytes(names.tolist()).decode(errors="replace").split("\n")
        raise CheckpointError(
            f"the state must be of the tasks {list(aware.tasks)} in this order, but is of "
            f"{theirs} instead. Give these as `tasks` to `modulate`."
        )


def _check_choice(argument: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise UserError(
            f"`{argument}` must be one of {list(choices)}, but is {value!r} instead"
            f"{nearest(str(value), choices)}"
        )
