"""How long and how to train. Imports no torch, so that the command line starts fast."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from taskaware.settings.typed import MOST_WORKERS

if TYPE_CHECKING:
    from collections.abc import Iterator

_END_OF_SEEDS = 2**63  # what torch takes, with room for a number more in each process
Trains = Literal[
    "everything",
    "decoder",
    "bridge",
    "task_network_and_norms",
    "task_network_and_bottlenecks",
    "task_network",
    "task_embedding",
    "adapters",
]
# Validations and checkpoints where the experiment does not say: so many a training, or so often.
_SHARES = 20
_MOST_UPDATES_BETWEEN = 2000


@dataclass(frozen=True, kw_only=True)
class ObjectiveSettings:
    """The objective.

    Attributes:
        label_smoothing: Share of the wanted distribution that is spread over the vocabulary
            (Table 8: 0.1).
        film_penalty: Weight of the mean square of (gamma - 1, beta).
        ctc_weight: Weight, on tasks of kind `asr`, of the CTC loss of the encoder's output against
            the target (Watanabe et al. 2017, equation 14; not in the paper). It has no parameters
            of its own: the shared embedding is its output layer, the padding piece its blank.
    """

    label_smoothing: float = 0.1
    film_penalty: float = 1e-3
    ctc_weight: float = 0.0

    def validate(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what it must be) for every impossible value."""
        if not 0 <= self.label_smoothing < 1:
            yield "label_smoothing", "must be at least 0 and below 1"
        for name in ("film_penalty", "ctc_weight"):
            if getattr(self, name) < 0:
                yield name, "must not be negative"


@dataclass(frozen=True, kw_only=True)
class LearningSettings:
    """How an update learns from its batches (paper, section 2.3).

    Attributes:
        strategy: `joint`: the losses of the tasks are summed. `meta`: model-agnostic meta-learning
            (Finn et al. 2017); each task gives two batches, the inner step adapts the base weights
            to the first (support), the outer step minimises the loss of the adapted weights on the
            second (query). The task network is changed by the outer step alone.
        inner_learning_rate: Step size of the inner step, alpha (the paper does not give it; ours).
        inner_steps: Inner steps on the support batch.
        second_order: Whether the outer gradient goes through the inner one. Exact, and several
            times as slow; without it, the first-order approximation.
    """

    strategy: Literal["joint", "meta"] = "joint"
    inner_learning_rate: float = 1e-3
    inner_steps: int = 1
    second_order: bool = False

    def validate(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what it must be) for every impossible value."""
        if self.inner_learning_rate <= 0:
            yield "inner_learning_rate", "must be above 0"
        if self.inner_steps < 1:
            yield "inner_steps", "must be at least 1"

    @property
    def batches_per_task(self) -> int:
        """Batches of each task that an update needs: support and query, or one."""
        return 2 if self.strategy == "meta" else 1


@dataclass(frozen=True, kw_only=True)
class RetentionSettings:
    """What keeps the start's other tasks from being forgotten while some are fine-tuned.

    Attributes:
        method: `none`: plain fine-tuning. `replay`: every update also sees a batch of an old task,
            from a memory of few examples (Chaudhry et al. 2019). `distillation`: on the new tasks'
            inputs, the outputs are kept near those of the start (Li and Hoiem 2016, Learning
            without Forgetting). `ewc`: weights that matter to old tasks are kept in place
            (Kirkpatrick et al. 2017, elastic weight consolidation).
        weight: Weight of the loss that keeps the old tasks (lambda in `ewc`).
        memory_examples: Training examples of each old task: what `replay` draws from, and what
            `ewc` measures importance on.
        temperature: For `distillation`: the temperature that softens both distributions.
    """

    method: Literal["none", "replay", "distillation", "ewc"] = "none"
    weight: float = 1.0
    memory_examples: int = 200
    temperature: float = 2.0

    def validate(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what it must be) for every impossible value."""
        for name in ("weight", "temperature"):
            if getattr(self, name) <= 0:
                yield name, "must be above 0"
        if self.memory_examples < 1:
            yield "memory_examples", "must be at least 1"


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """The course of one training.

    Attributes:
        updates: Steps of the optimiser.
        seed: Decides the initial weights, the order of the examples, dropout and the derangements.
        accumulate: Groups of batches whose gradients are summed before a step.
        precision: `auto`: bfloat16 autocast where the machine computes in it, else float32. The
            weights are float32 in any case; on a CPU bfloat16 saves time and not memory.
        device: `auto`: a CUDA device where there is one, else the CPU.
        num_threads: Threads of torch on a CPU; 0: torch's choice.
        log_every: Updates between two lines of the log.
        validate_every: Updates between two validations; 0: only after the last. `auto`: a twentieth
            of `updates`, at least 1 and at most 2000.
        save_every: Updates between two checkpoints; 0: only after the last. `auto`: as for
            `validate_every`.
        patience: Training ends before `updates` once so many validations, one after another, were
            not better than the best over all tasks; 0: never.
        keep: How many of the newest checkpoints are kept.
        average_last: Checkpoints whose weights are averaged into the model `average`; 0: none.
        final: Which weights become the run's `model`: the `last`, the `best` on the dev split, or
            the `average`.
        selection: What `best` means: the lowest mean dev `loss` over the tasks, or the highest mean
            of the normalised dev `score` (1 - word error rate, or BLEU / 100, at least 0). Of equal
            scores the lower loss is better, so that a score that never changes does not choose.
        taskwise: Whether the best weights for each task are kept as well, as models of their own
            (`taskwise/TASK`); of a run of several tasks.
        validation_examples: Dev examples of each task that a validation uses, at most, spread
            evenly over the split.
        try_largest: Whether the largest batches are tried before the first update, so that too
            large ones are found at once: `auto` does so on a CUDA device.
        support_examples: Training examples of each task whose mean t_e is kept for inference.
        sharded: Whether several processes split weights, gradients and the optimiser's state among
            them (FSDP2), where each has all of it otherwise: for a model that is too large for a
            device (docs/scale.md).
    """

    updates: int = 100_000
    seed: int = 1
    accumulate: int = 1
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    num_threads: int = 0
    log_every: int = 50
    validate_every: int | Literal["auto"] = "auto"
    save_every: int | Literal["auto"] = "auto"
    patience: int = 0
    keep: int = 5
    average_last: int = 0
    final: Literal["last", "best", "average"] = "best"
    selection: Literal["loss", "score"] = "loss"
    taskwise: bool = True
    validation_examples: int = 500
    try_largest: Literal["auto", "always", "never"] = "auto"
    support_examples: int = 64
    sharded: bool = False

    def validate(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what it must be) for every impossible value."""
        for name in ("updates", "accumulate", "log_every", "keep", "support_examples"):
            if getattr(self, name) < 1:
                yield name, "must be at least 1"
        for name in ("num_threads", "validate_every", "save_every", "patience", "average_last"):
            value = getattr(self, name)
            if value != "auto" and value < 0:
                yield name, "must not be negative"
        if self.num_threads > MOST_WORKERS:
            yield "num_threads", f"must be at most {MOST_WORKERS}"
        if not 0 <= self.seed < _END_OF_SEEDS:
            yield "seed", "must be at least 0 and below 2^63"
        if self.validation_examples < 1:
            yield "validation_examples", "must be at least 1"
        if self.average_last > self.keep:
            yield "average_last", f"must be at most `keep` ({self.keep})"
        if self.final == "average" and self.average_last == 0:
            yield "average_last", "must be at least 1 where `final` is 'average'"

    @property
    def validation_interval(self) -> int:
        """Updates between two validations; 0: only after the last."""
        return self._automatic if self.validate_every == "auto" else self.validate_every

    @property
    def checkpoint_interval(self) -> int:
        """Updates between two checkpoints; 0: only after the last."""
        return self._automatic if self.save_every == "auto" else self.save_every

    @property
    def _automatic(self) -> int:
        return max(1, min(_MOST_UPDATES_BETWEEN, self.updates // _SHARES))


@dataclass(frozen=True, kw_only=True)
class OptimiserSettings:
    """The optimiser and its learning rate; the defaults are Table 8.

    Attributes:
        algorithm: `adam` (Table 8), or `sgd`: stochastic gradient descent with `beta1` as momentum.
        learning_rate: For `inverse_sqrt` the factor before d_model^-0.5 (Table 8: 2.0); for
            `linear` the highest learning rate itself.
        schedule: `inverse_sqrt`:
            factor * d_model^-0.5 * min(1, step/warmup) / sqrt(max(step, warmup)).
            `linear`: up to `learning_rate` over the warm-up, then down to 0 at the last update.
        warmup_updates: Updates over which the learning rate rises.
        beta1: Adam's decay of the mean gradient; the momentum of `sgd`.
        beta2: Adam's decay of the mean squared gradient.
        epsilon: Adam's addition to the denominator.
        weight_decay: Decoupled weight decay of all weights but those of the task network.
        task_network_weight_decay: The same for the task network's weights.
        implicit_rate: The implicit task network learns at this share of the learning rate, but for
            its last bias, what all t_e have in common. At the whole of a high rate all of its
            layers learn that as well, until t_e tells no tasks apart (docs/log.md).
        frontend_rate: The front ends of speech and features learn at this multiple of the learning
            rate. Libraries that multiply speech by the root of d_model do about the same, since
            Adam's steps then count as many times more (docs/log.md).
        max_gradient_norm: The gradient is scaled down to this norm where it is longer; 0: never.
    """

    algorithm: Literal["adam", "sgd"] = "adam"
    learning_rate: float = 2.0
    schedule: Literal["inverse_sqrt", "linear"] = "inverse_sqrt"
    warmup_updates: int = 16_000
    beta1: float = 0.9
    beta2: float = 0.997
    epsilon: float = 1e-9
    weight_decay: float = 0.0
    task_network_weight_decay: float = 0.0
    implicit_rate: float = 0.1
    frontend_rate: float = 1.0
    max_gradient_norm: float = 0.0

    def validate(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what it must be) for every impossible value."""
        for name in ("learning_rate", "epsilon", "frontend_rate"):
            if getattr(self, name) <= 0:
                yield name, "must be above 0"
        for name in ("beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                yield name, "must be at least 0 and below 1"
        for name in ("weight_decay", "task_network_weight_decay", "max_gradient_norm"):
            if getattr(self, name) < 0:
                yield name, "must not be negative"
        if not 0 < self.implicit_rate <= 1:
            yield "implicit_rate", "must be above 0 and at most 1"
        if self.warmup_updates < 0:
            yield "warmup_updates", "must not be negative"
