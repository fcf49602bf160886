"""How a model learns which task is meant. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

Cue = Literal["none", "text_label", "target_tag", "explicit", "implicit"]
ActsBy = Literal["film", "prepend", "join"]


@dataclass(frozen=True, kw_only=True)
class ConditioningSettings:
    """How the model learns which task is meant.

    Attributes:
        cue: Where the cue comes from. `none`: vanilla multi-task learning. `text_label`: the task
            as text before a text source (OHV, section 3.1.1). `target_tag`: the task as the
            decoder's first piece (not in the paper). `explicit`: a one-hot task (equation 1).
            `implicit`: examples of the task (equations 2-5).
        acts_by: How t_e acts: `film` scales and shifts every block (equation 7); `prepend` puts it
            before source and target as a vector; `join` adds it to every position of the encoder's
            output, which is what a one-hot task that is joined to each and a linear layer amount to
            (not in the paper).
        film_scope: `shared`: one gamma and beta for all blocks (the paper). `per_block`: a pair for
            each.
        film_on: `everything`: encoder and decoder (the paper). `decoder`: the embedded target and
            the decoder's blocks; what the encoder computes is then the same for all tasks.
        film_places: `blocks`: the outputs of blocks (the paper). `parts`: also the output of each
            attention and each feed-forward, before it is added (not in the paper).
        bottleneck: Hidden numbers of a small feed-forward beside each part of a block, which all
            tasks share and whose hidden numbers t_e scales (not in the paper; `model/modulation.py`
            says whose idea it is); 0: none. It adds to t_e so many numbers a part.
        d_task: Size inside the implicit network (256 with a filter of 512: 1.58 million parameters
            at d_model 512; the paper says about 1 million).
        d_task_ff: Inner size of its feed-forward layers.
        num_task_heads: Attention heads of its two blocks.
        implicit_reads: What it reads of an example's source: `preprocessed`: what the front end or
            the embedding puts out (the paper). `encoded`: what the encoder puts out, which t_e must
            then leave alone (`film_on` 'decoder'): for a frozen encoder, whose outputs may have
            been computed before (not in the paper).
        gradient_reaches_shared_layers: Whether the task network's gradient also changes the front
            ends and the embedding that it reads.
        derange_support: Whether each example is modulated by the t_e of another example of its task
            while training (the paper) rather than by its own.
    """

    cue: Cue = "implicit"
    acts_by: ActsBy = "film"
    film_scope: Literal["shared", "per_block"] = "shared"
    film_on: Literal["everything", "decoder"] = "everything"
    film_places: Literal["blocks", "parts"] = "blocks"
    bottleneck: int = 0
    d_task: int = 256
    d_task_ff: int = 512
    num_task_heads: int = 4
    implicit_reads: Literal["preprocessed", "encoded"] = "preprocessed"
    gradient_reaches_shared_layers: bool = False
    derange_support: bool = True

    @property
    def has_task_network(self) -> bool:
        """Whether a task network computes a t_e."""
        return self.cue in ("explicit", "implicit")

    @property
    def reads_encoded(self) -> bool:
        """Whether a task network reads what the encoder puts out."""
        return self.cue == "implicit" and self.implicit_reads == "encoded"

    @property
    def gives_embeddings_of_others(self) -> bool:
        """Whether an example gets the t_e of another example of its task while training."""
        return self.has_task_network and self.derange_support

    @property
    def looks_at_cue_examples(self) -> bool:
        """Whether the task network can look at examples outside the batch while training."""
        return self.cue == "implicit" and self.gives_embeddings_of_others

    def validate(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what it must be) for every impossible value."""
        if self.d_task < 1 or self.num_task_heads < 1 or self.d_task % self.num_task_heads:
            yield "d_task", f"must be a multiple of `num_task_heads` ({self.num_task_heads})"
        if self.d_task_ff < 1:
            yield "d_task_ff", "must be at least 1"
        if self.bottleneck < 0:
            yield "bottleneck", f"must be at least 0, but is {self.bottleneck}"
        if self.acts_by != "film":
            plain = {"film_scope": "shared", "film_on": "everything", "film_places": "blocks"}
            for name, value in {**plain, "bottleneck": 0}.items():
                if getattr(self, name) != value:
                    yield name, f"must be {value!r} where `acts_by` is '{self.acts_by}'"
