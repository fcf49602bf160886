"""What a command says when it fails, and the exit code that it ends with.

Every failure that a user, a machine or a file system can cause is one message on standard error,
which begins with ``taskaware:``, and one of the codes below. Only a mistake in taskaware itself
shows a traceback.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import select
import shlex
import sys
from typing import TYPE_CHECKING, get_args

from cyclopts import (
    CoercionError,
    CycloptsError,
    MissingArgumentError,
    UnknownCommandError,
    UnknownOptionError,
    UnusedCliTokensError,
    ValidationError,
)

from taskaware.cli.printable import printable
from taskaware.errors import TaskawareError, TerminatedInterrupt, nearest

if TYPE_CHECKING:
    from typing import TextIO

FAILURE = 1
MISUSE = 2
INTERRUPTED = 128 + 2  # as a shell says of what SIGINT ended
TERMINATED = 75  # EX_TEMPFAIL of sysexits.h: stopped with work left, the same command goes on
READER_GONE = 128 + 13  # as a shell says of what SIGPIPE ended

_WANTED = {int: "a whole number", float: "a number", bool: "true or false"}
# What to do about what the operating system refused.
_ADVICE = {
    errno.ENOSPC: "free some space, then run the same command again",
    errno.EFBIG: "raise the limit on the size of files (ulimit -f), or free some space",
    errno.EDQUOT: "free some of your quota, then run the same command again",
    errno.EROFS: "name a folder that can be written to",
    errno.EACCES: "ask for permission, or name another place",
    errno.EPERM: "ask for permission, or name another place",
    errno.EEXIST: "give another name",
    errno.ENOTDIR: "a file is where a folder must be: give another name",
    errno.EISDIR: "a folder is where a file must be: give another name",
    errno.ENAMETOOLONG: "give a shorter name",
    errno.ELOOP: "the symbolic links lead back to where they began: name the file itself",
    errno.EMFILE: "raise the limit on open files (ulimit -n)",
    errno.ENFILE: "close other programs: the machine has no open files left",
    errno.ENOMEM: "close other programs, or ask for less at a time",
}
# Libraries written in other languages hide the operating system's answer in their own exceptions.
_HIDDEN_NUMBER = re.compile(r"\(os error (\d+)\)")
_FILE_ERRORS = ("SafetensorError", "LibsndfileError")
_NO_MEMORY = re.compile(r"can't allocate memory|out of memory|std::bad_alloc", re.IGNORECASE)


def message_and_code(error: BaseException) -> tuple[str, int] | None:
    """Return what to say of a failure and the exit code, or ``None`` for a mistake of taskaware."""
    match error:
        case CycloptsError():
            return _of_misuse(error), MISUSE
        case TaskawareError():
            return str(error), error.exit_code
        case TerminatedInterrupt():
            return f"stopped by {error}; the same command goes on", TERMINATED
        case KeyboardInterrupt():
            return "interrupted", INTERRUPTED
        case OSError():
            return _of_system_error(error), FAILURE
        case UnicodeError():
            return _of_text(error), MISUSE
    return _of_library(error)


def _of_library(error: BaseException) -> tuple[str, int] | None:
    text = str(error)
    is_memory = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    if is_memory or (isinstance(error, RuntimeError) and _NO_MEMORY.search(text)):
        said = f": {text.splitlines()[0]}" if text else ""
        return (
            f"there is not enough memory{said}; ask for less at a time (smaller batches)",
            FAILURE,
        )
    if hidden := _HIDDEN_NUMBER.search(text):
        number = int(hidden[1])
        return _of_system_error(OSError(number, os.strerror(number))), FAILURE
    return (text, FAILURE) if type(error).__name__ in _FILE_ERRORS else None


def _of_system_error(error: OSError) -> str:
    reason = error.strerror or str(error) or type(error).__name__
    names = [os.fsdecode(name) for name in (error.filename, error.filename2) if _is_name(name)]
    place = f"{' -> '.join(shortened(name) for name in names)}: " if names else ""
    advice = _ADVICE.get(error.errno or 0)
    return f"{place}{reason}" + (f"; {advice}" if advice else "")


def _is_name(name: object) -> bool:
    return isinstance(name, str | bytes | os.PathLike)


def shortened(name: str, most: int = 160) -> str:
    """Return a name as a message shows it: without its middle where it is very long."""
    return name if len(name) <= most else f"{name[: most // 2]} ... {name[-most // 2 :]}"


def _of_text(error: UnicodeError) -> str:
    match error:
        case UnicodeDecodeError():
            wrong = error.object[error.start : error.end]
            return (
                f"text must be UTF-8, but byte {error.start:,} is 0x{bytes(wrong).hex()} "
                f"({error.reason}): convert it (iconv -f latin1 -t utf-8)"
            )
        case UnicodeEncodeError() if error.encoding.replace("_", "-").lower() != "utf-8":
            wrong = ascii(error.object[error.start : error.end])
            return f"{wrong} cannot be written in {error.encoding}: use UTF-8 (PYTHONUTF8=1)"
        case UnicodeEncodeError():
            return f"text and names must be UTF-8, but {shortened(ascii(error.object))} is not"
    return f"text must be valid UTF-8: {error}"


def _of_misuse(error: CycloptsError) -> str:
    command = " ".join(("taskaware", *(error.command_chain or ())))
    return f"{_mistake(error)}; see: {command} --help"


def _mistake(error: CycloptsError) -> str:
    """Return what is wrong with the arguments, in the form of our own messages."""
    token = getattr(error, "token", None)
    tokens = error.argument.tokens if error.argument is not None else []
    keyword = getattr(token or (tokens[0] if tokens else None), "keyword", None)
    name = keyword or (error.argument.name if error.argument is not None else "")
    match error:
        case ValidationError() if name:
            return f"{name} {error.exception_message}"
        case MissingArgumentError() if error.keyword:
            return f"{error.keyword} needs a value after it"
        case MissingArgumentError() if name:
            return f"{name} must be given"
        case CoercionError() if name and token is not None:
            if error.msg:
                return f"{name} {error.msg}"
            choices = [str(choice) for choice in get_args(error.target_type)]
            wanted = f"one of {', '.join(choices)}" if choices else _WANTED.get(error.target_type)
            wrong = f"but is '{token.value}'{nearest(token.value, choices)}"
            return f"{name} must be {wanted or error.target_type}, {wrong}"
        case UnknownCommandError() if error.unused_tokens and error.app is not None:
            known = [command for command in error.app if not command.startswith("-")]
            name = error.unused_tokens[0]
            return f"there is no command '{name}'{nearest(name, known)}: {', '.join(known)}"
        case UnknownOptionError() if token is not None:
            known = [name for argument in error.argument_collection for name in argument.names]
            name = token.keyword or token.value
            return f"there is no option '{name}'{nearest(name, known)}"
        case UnusedCliTokensError() if error.unused_tokens:
            return f"there is an argument too many: {shlex.join(error.unused_tokens)}"
    return str(error).strip().rstrip(".")


def say(message: str) -> None:
    """Print a message of failure; where nobody can read it, leave it."""
    with contextlib.suppress(OSError, ValueError):
        print(f"taskaware: {printable(message)}", file=sys.stderr, flush=True)


def reader_is_gone(*streams: TextIO) -> bool:
    """Return whether one of the streams is a pipe that nobody reads any more.

    A broken pipe may also be that of a worker of ours, which is a failure.
    """
    for stream in streams:
        try:
            poll = select.poll()
            poll.register(stream.fileno(), select.POLLOUT)
            events = [event for _, event in poll.poll(0)]
        except (OSError, ValueError, AttributeError):  # no descriptor, closed, or no poll here
            continue
        if any(event & (select.POLLERR | select.POLLHUP) for event in events):
            return True
    return False


def empty(stream: TextIO) -> None:
    """Write what a stream still holds; where that is impossible, to nowhere.

    Otherwise Python tries it again at its end, fails, and makes an exit code of its own of that.
    """
    try:
        stream.flush()
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
