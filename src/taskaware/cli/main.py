"""``taskaware``: the entry point, and how errors reach the user."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import threading
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from cyclopts import Parameter

import taskaware
from taskaware.cli import (
    augment,
    compare,
    data,
    demo,
    evaluate,
    export,
    import_model,
    inspect,
    predict,
    prepare,
    score,
    serve,
    study,
    train,
)
from taskaware.cli.completion import CompletedApp
from taskaware.cli.failures import READER_GONE, empty, message_and_code, reader_is_gone, say
from taskaware.errors import TerminatedInterrupt, UserError
from taskaware.signals import leave_closed_terminal, terminations

if TYPE_CHECKING:
    from collections.abc import Callable

app = CompletedApp(
    name="taskaware",
    help="Train one Transformer on many tasks - speech recognition, speech translation, machine "
    "translation, any source to text - and use it for all of them.",
    version=taskaware.__version__,
    help_format="markdown",
    suppress_keyboard_interrupt=False,
    # "[1] talks.tsv" is a file's name like any other, and no list in JSON.
    default_parameter=Parameter(json_list=False, json_dict=False),
)
app.command(demo.demo)
app.command(prepare.prepare)
app.command(data.app)
app.command(augment.app)
app.command(train.train)
app.command(study.study)
app.command(evaluate.evaluate)
app.command(compare.compare)
app.command(score.score)
app.command(predict.predict)
app.command(serve.serve)
app.command(inspect.inspect)
app.command(import_model.import_model, name="import")
app.command(export.export)
app.register_install_completion_command(
    help="Install completion for the shell that this is typed in."
)


def main(arguments: list[str] | None = None) -> None:
    """Run a command and exit.

    The exit code is 0, 1 (failure), 2 (misuse), 75 (SIGTERM, SIGHUP: run it again), 130 (Ctrl-C),
    or 141: whoever read the output stopped reading.
    """
    _on_termination(_terminate)
    threading.excepthook = _of_a_thread
    # A stream that the shell closed (`>&-`) is none in Python, which every print would trip over.
    sys.stdout = sys.stdout or Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
    sys.stderr = sys.stderr or Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A name that is not UTF-8, or a character that the terminal lacks, is shown as \x..
            stream.reconfigure(errors="backslashreplace")
    code = run(sys.argv[1:] if arguments is None else arguments)
    # The command is over: an exception would only come up in what Python runs while it leaves,
    # and a handler of ours is gone before Python is: the signal would then end it.
    _on_termination(signal.SIG_IGN)
    with contextlib.suppress(ValueError):  # not the main thread
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(code)


def _on_termination(handler: Callable[..., None] | signal.Handlers) -> None:
    with contextlib.suppress(ValueError):  # not the main thread
        for number in terminations():
            signal.signal(number, handler)


def _terminate(number: int, _frame: object) -> None:
    """End as after Ctrl-C, with what is half done taken away, and an exit code of its own."""
    leave_closed_terminal()
    raise TerminatedInterrupt(signal.Signals(number).name)


def _of_a_thread(ended: threading.ExceptHookArgs) -> None:
    """Say in one message why a library's own thread ended, as TensorBoard's does on a full disk.

    Whoever gave it work is told of it there, and fails.
    """
    found = None if ended.exc_value is None else message_and_code(ended.exc_value)
    if found is None:
        threading.__excepthook__(ended)
    else:
        say(found[0])


def run(arguments: list[str]) -> int:
    """Run a command and return its exit code."""
    try:
        _require_usable(arguments)
        code = app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()
        return code or 0
    except (Exception, KeyboardInterrupt) as error:
        # Known before the streams are emptied, which replaces what is broken.
        is_unread = isinstance(error, BrokenPipeError) and reader_is_gone(sys.stdout, sys.stderr)
        empty(sys.stdout)  # what was written before comes before the message
        if is_unread:
            empty(sys.stderr)
            return READER_GONE
        found = message_and_code(error)
        if found is None:
            raise
        message, code = found
        say(message)
        return code


def _require_usable(arguments: list[str]) -> None:
    """Refuse arguments that would end long work at its end, or begin it in the wrong place.

    Raises:
        UserError: A name that is not UTF-8 (`predict` alone reads such files), an empty argument.
    """
    for before, argument in pairwise(["", *arguments]):
        if not argument and before != "--text":
            after = f" after {before}" if before else ""
            raise UserError(
                f"an argument must not be empty, but there is an empty one{after}: perhaps a "
                "variable of the shell is not set"
            )
        if arguments[0] != "predict" and not argument.isascii():
            try:
                argument.encode()
            except UnicodeEncodeError as error:
                raise UserError(
                    f"names must be UTF-8, but {argument!a} is not: rename the file or folder"
                ) from error


if __name__ == "__main__":
    main()
