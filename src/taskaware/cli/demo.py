"""``taskaware demo``: the main job from nothing, in minutes."""

from __future__ import annotations

from pathlib import Path

from taskaware.cli.display import say, stage_display, training_display
from taskaware.cli.endings import code_of
from taskaware.cli.own_name import own_command


def demo(
    experiment: Path,
    /,
    *overrides: str,
    to: Path = Path("runs/demo"),
    compare: bool = False,
) -> int:
    """Make a synthetic corpus, train one model on three tasks, score it, write a report.

    Needs the extra `demo`: pip install 'taskaware[demo]'. The same command resumes an interrupted
    demo.

    Parameters
    ----------
    experiment
        The experiment to train: experiments/demo.toml.
    overrides
        Fields that override the file's: `training.updates=500`.
    to
        The folder to write to.
    compare
        Also train the vanilla model (no cue) and the explicit task network, with the same budget.
    """
    from taskaware.cli.evaluate import print_results
    from taskaware.run import experiment as experiment_file

    described = experiment_file.load(experiment, ["data.folder=unused", *overrides])
    from taskaware.demo import DemoResult, run_demo

    result = run_demo(
        described,
        to,
        compare=compare,
        progress=stage_display,
        training_display=training_display,
    )
    if not isinstance(result, DemoResult):
        say("Stopped; a checkpoint is written. The same command resumes the demo.")
        return code_of(result)
    say("\nHeld-out sentences and voices, synthetic speech:")
    print_results({run.name: run.results for run in result.compared})
    spent = ", ".join(f"{stage} {seconds:.0f} s" for stage, seconds in result.seconds.items())
    test = next((to / "corpus" / "audio" / "test").glob("*.flac"))
    say(
        f"\ntime: {spent}\nfigures: {result.results_path}\nreport: {result.report_path}\n\n"
        + next_steps(to / "implicit", test)
        + ("" if compare else "\n  scripts/demo --compare")
    )
    return 0


def next_steps(model: Path, recording: Path) -> str:
    """Return the commands to try a model with, each as a shell reads it."""
    return (
        "Try next:\n"
        f"  {own_command('predict', model, recording)}\n"
        f"  {own_command('predict', model, '--text', 'The teacher reads a red book.')}\n"
        f"  {own_command('serve', model)}  # a page to try all tasks"
    )
