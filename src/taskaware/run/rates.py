"""A learning rate that is hardly what was meant, told before a run begins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskaware.run.idle_settings import Remark
from taskaware.training.optimiser import learning_rate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from taskaware.run.experiment import Experiment

# Of Adam, whose steps are about as long as the rate: below, or above, most likely the settings mean
# something else than their writer did.
_LOW_RATE = 1e-5
_HIGH_RATE = 0.5


def odd_rate(experiment: Experiment) -> Iterator[Remark]:
    """Yield a remark where the highest rate that a run reaches is hardly what was meant."""
    optimiser, updates = experiment.optimiser, experiment.training.updates
    if optimiser.algorithm != "adam":
        return
    peak = min(max(optimiser.warmup_updates, 1), updates)
    rate = learning_rate(optimiser, peak, d_model=experiment.model.d_model, num_updates=updates)
    # A low one is often meant where it is the rate itself.
    is_low = optimiser.schedule == "inverse_sqrt" and rate < _LOW_RATE
    if not is_low and rate <= _HIGH_RATE:
        return
    meaning = {
        "inverse_sqrt": "a factor before d_model^-0.5 and the root of the warm-up (Table 8: 2.0)",
        "linear": "the highest rate itself (1e-4 to 1e-3 is usual)",
    }
    is_cut = peak < optimiser.warmup_updates
    cut = f", as the run ends within its warm-up of {optimiser.warmup_updates:,}" if is_cut else ""
    yield Remark(
        about="optimiser.learning_rate",
        figures={"rate": rate, "update": float(peak)},
        text=f"the learning rate is never above {rate:.2g}, in update {peak:,}{cut}; "
        f"`optimiser.learning_rate = {optimiser.learning_rate:g}` is, for the schedule "
        f"'{optimiser.schedule}', {meaning[optimiser.schedule]}",
    )
