"""The models of a run that has come to its end.

Weights that a run has on the disk already get a second name in the model's folder where the file
system can do that, so that a model takes no room of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from taskaware.files import link_or_copy
from taskaware.folder_exchange import atomic_folder
from taskaware.inference.model_card import write_card
from taskaware.inference.model_folder import MODEL_FILES
from taskaware.run.idle_settings import Remark
from taskaware.run.start_share import mixed_with_start, remark_on_share
from taskaware.run.validation import mean_dev_loss
from taskaware.training.checkpoint import average_weights, checkpoints
from taskaware.training.tensors import load_tensors, weights

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from torch import Tensor

    from taskaware.inference.model import TaskAwareModel
    from taskaware.run.run import Run
    from taskaware.training.best import BestWeights
    from taskaware.training.checkpoint import TrainState


_MUCH = 1.02  # times the last dev loss: more than what the choice of weights usually makes


@dataclass(frozen=True)
class _Weights:
    """Weights that become a model.

    Attributes:
        update: After which update they are.
        tensors: The weights; ``None``: those of the file.
        file: Where they are on the disk already.
    """

    update: int
    tensors: Mapping[str, Tensor] | None = None
    file: Path | None = None

    def write(self, run: Run, folders: Sequence[Path]) -> TaskAwareModel:
        """Write the model into each of the folders; return it.

        It is made once: that takes a t_e of every task.
        """
        model = run.finished_model(mixed_with_start(run, self.read()), update=self.update)
        # Vectors are among the weights of such a run, and not of its models.
        start = run.experiment.start
        is_as_in_file = start.trains != "task_embedding" and not start.share
        for folder in folders:
            model.save(folder, weights_file=self.file if is_as_in_file else None)
        return model

    def read(self) -> Mapping[str, Tensor]:
        """Return the weights as they were trained."""
        if self.tensors is not None:
            return self.tensors
        assert self.file is not None
        return load_tensors(self.file)


def write_models(run: Run, state: TrainState, best_weights: BestWeights) -> None:
    """Write the models of a finished run: ``model`` last, so that a run with it is complete.

    Raises:
        WriteError: The disk is full, for example.
    """
    found = _candidates(run, state, best_weights)
    final = _final(run, found)
    taskwise = _taskwise(run, state)
    written: dict[str, TaskAwareModel] = {}
    if "best" in found:
        folders = [run.folder / "best", *taskwise.pop(found["best"].update, ())]
        written["best"] = found["best"].write(run, folders)
    if "average" in found:
        written["average"] = found["average"].write(run, [run.folder / "average"])
    for update, folders in taskwise.items():
        _Weights(update, file=best_weights.path(update)).write(run, folders)
    if final == "last":
        found["last"].write(run, [run.folder / "model"])
    else:
        with atomic_folder(run.folder / "model") as folder:
            for name in MODEL_FILES:
                link_or_copy(run.folder / final / name, folder / name)
        # Not another name of the other's card: who edits one means that one.
        write_card(written[final], run.folder / "model")


def remarks_on_models(run: Run, state: TrainState, best_weights: BestWeights) -> list[Remark]:
    """Return what the user should know of the models that a finished run gets."""
    remarks = [remark_on_average(run)]
    if run.experiment.start.share:
        found = _candidates(run, state, best_weights)
        remarks.append(remark_on_share(run, found[_final(run, found)].read()))
    return [remark for remark in remarks if remark is not None]


def remark_on_average(run: Run) -> Remark | None:
    """Return a remark where the mean of checkpoints becomes the model and is worse than the last.

    That is so of a run whose weights still change fast, or whose checkpoints are far apart.
    """
    settings = run.experiment.training
    if settings.final != "average":
        return None
    newest = checkpoints(run.folder / "checkpoints")[-settings.average_last :]
    run.model.eval()
    last = mean_dev_loss(run)
    if math.isnan(last):
        return None
    own = {name: value.clone() for name, value in weights(run.model).items()}
    run.model.load_state_dict(average_weights(newest))
    mean = mean_dev_loss(run)
    run.model.load_state_dict(own)
    if mean < _MUCH * last:
        return None
    return Remark(
        about="training.final",
        figures={"average": mean, "last": last},
        text=f"the mean of the last {len(newest)} checkpoints ({newest[0].name} to "
        f"{newest[-1].name}) becomes the model, but has a dev loss of {mean:.2f} where the last of "
        f"them has {last:.2f}: their weights still change fast. With a smaller "
        "`training.average_last` or `training.save_every`, or `training.final` 'best' or 'last', "
        "the run ends otherwise",
    )


def _taskwise(run: Run, state: TrainState) -> dict[int, list[Path]]:
    """Return the folders of the best model for each task, by the update that it is of."""
    folders: dict[int, list[Path]] = {}
    if not run.experiment.training.taskwise or len(run.trained_tasks) < 2:
        return folders
    for task in run.trained_tasks:
        if task.name in state.best:
            update = int(state.best[task.name]["update"])
            folders.setdefault(update, []).append(run.folder / "taskwise" / task.name)
    return folders


def _final(run: Run, found: Mapping[str, _Weights]) -> str:
    """Return which of the weights become the run's model."""
    wanted = run.experiment.training.final
    return wanted if wanted in found else "last"


def _candidates(run: Run, state: TrainState, best_weights: BestWeights) -> dict[str, _Weights]:
    """Return what the run's model may be, by the words of ``training.final``."""
    newest = checkpoints(run.folder / "checkpoints")
    found = {"last": _Weights(state.update, weights(run.model))}
    number = run.experiment.training.average_last
    if number:
        found["average"] = _Weights(state.update, average_weights(newest[-number:]))
    if "all" in state.best:
        update = int(state.best["all"]["update"])
        found["best"] = _Weights(update, file=best_weights.path(update))
    return found
