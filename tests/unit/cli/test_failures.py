"""Whatever fails, a command says it in one message and ends with the exit code that fits."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from taskaware.cli import failures, main, serve
from taskaware.errors import CheckpointError, UserError

ROOT = Path(main.__file__).parents[2]
ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


def outcome(error: BaseException, capsys, monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    """Return the exit code and standard error of a command that fails with this."""

    def fail(*_: object, **__: object) -> int:
        raise error

    monkeypatch.setattr(main, "app", fail)
    code = main.run(["inspect", "model"])
    return code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "No space left on device; free some space"),
        (errno.EDQUOT, "free some of your quota"),
        (errno.EACCES, "Permission denied; ask for permission"),
        (errno.EROFS, "Read-only file system; name a folder that can be written to"),
        (errno.ELOOP, "the symbolic links lead back"),
        (errno.ENAMETOOLONG, "File name too long; give a shorter name"),
        (errno.EMFILE, "Too many open files; raise the limit"),
        (errno.EIO, "Input/output error"),
    ],
)
def test_what_the_operating_system_refuses_is_a_message_with_the_path_and_what_to_do(
    number: int, words: str, capsys, monkeypatch: pytest.MonkeyPatch
):
    error = OSError(number, os.strerror(number), "runs/mine/log.jsonl")
    code, said = outcome(error, capsys, monkeypatch)
    assert code == 1
    assert said.startswith("taskaware: runs/mine/log.jsonl: ")
    assert words in said
    assert said.count("\n") == 1


def test_a_strangers_name_does_not_command_the_terminal(capsys, monkeypatch: pytest.MonkeyPatch):
    error = CheckpointError("\x1b]0;title\x07\x1b[2J\x9b1m\rmodel\tmust be\none")
    _, said = outcome(error, capsys, monkeypatch)
    assert said == "taskaware: \\x1b]0;title\\x07\\x1b[2J\\x9b1m\\x0dmodel\tmust be\none\n"


def test_a_very_long_name_does_not_fill_the_screen(capsys, monkeypatch: pytest.MonkeyPatch):
    error = OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), "a" * 5000)
    assert len(outcome(error, capsys, monkeypatch)[1]) < 300


def test_a_full_disk_that_a_library_reports_in_its_own_way_reads_the_same(
    capsys, monkeypatch: pytest.MonkeyPatch
):
    class SafetensorError(Exception):
        pass

    error = SafetensorError("I/O error: No space left on device (os error 28)")
    code, said = outcome(error, capsys, monkeypatch)
    assert (code, "No space left on device; free some space" in said) == (1, True)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"
        ),
        type("OutOfMemoryError", (RuntimeError,), {})(
            "CUDA out of memory. Tried to allocate 2 GiB"
        ),
    ],
)
def test_too_little_memory_is_a_message(error, capsys, monkeypatch: pytest.MonkeyPatch):
    code, said = outcome(error, capsys, monkeypatch)
    assert (code, "not enough memory" in said) == (1, True)


@pytest.mark.parametrize(
    ("decode", "words"),
    [
        (lambda: b"caf\xe9".decode(), "must be UTF-8, but byte 3 is 0xe9"),
        (lambda: "caf\udce9.wav".encode(), r"'caf\udce9.wav' is not"),
        (lambda: "日".encode("latin-1"), "cannot be written in latin-1"),
    ],
)
def test_text_that_is_not_utf_8_is_a_message_and_misuse(
    decode, words: str, capsys, monkeypatch: pytest.MonkeyPatch
):
    with pytest.raises(UnicodeError) as caught:
        decode()
    code, said = outcome(caught.value, capsys, monkeypatch)
    assert (code, words in said) == (2, True), said


@pytest.mark.parametrize(
    ("error", "code"),
    [(UserError("no"), 2), (CheckpointError("no"), 1), (KeyboardInterrupt(), 130)],
)
def test_other_failures_end_with_their_code(
    error, code: int, capsys, monkeypatch: pytest.MonkeyPatch
):
    assert outcome(error, capsys, monkeypatch)[0] == code


def test_a_mistake_of_taskaware_keeps_its_traceback(capsys, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(ZeroDivisionError):
        outcome(ZeroDivisionError(), capsys, monkeypatch)


def test_the_broken_pipe_of_a_worker_is_a_failure_and_not_a_reader_that_is_gone(
    capsys, monkeypatch: pytest.MonkeyPatch
):
    code, said = outcome(BrokenPipeError(errno.EPIPE, "Broken pipe"), capsys, monkeypatch)
    assert (code, "Broken pipe" in said) == (1, True)


def started(code: str, **streams) -> subprocess.Popen[bytes]:
    """Start a Python process in which `taskaware inspect` does what ``code`` says."""
    program = (
        "import sys\nfrom taskaware.cli import main\n"
        f"def app(*_, **__):\n    {code}\n"
        "main.app = app\nmain.main(['inspect', 'model'])\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        **streams,
    )


def test_a_reader_that_stops_reading_ends_a_command_quietly():
    process = started("[print('x' * 1000) for _ in range(1000)]", stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    _, said = process.communicate()
    assert (process.returncode, said) == (failures.READER_GONE, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_output_to_a_full_disk_is_a_failure_even_where_it_shows_only_at_the_end():
    with open("/dev/full", "w") as full:  # noqa: PTH123
        process = started("print('x')", stdout=full)
        _, said = process.communicate()
    assert process.returncode == 1
    assert b"No space left on device" in said
    assert said.count(b"\n") == 1


def test_a_name_that_is_not_utf_8_can_be_shown():
    process = started(r"print('caf\udce9.wav')", stdout=subprocess.PIPE)
    out, said = process.communicate()
    assert (process.returncode, out, said) == (0, b"caf\\udce9.wav\n", b"")


def test_ctrl_c_inside_a_command_ends_with_130_and_no_traceback():
    process = started(
        "import os, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "os.kill(os.getpid(), signal.SIGINT); import time; time.sleep(10)"
    )
    _, said = process.communicate()
    assert (process.returncode, said) == (130, b"taskaware: interrupted\n")


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_signal_inside_a_command_ends_with_75_and_no_traceback(name: str):
    process = started(f"import os, signal; os.kill(os.getpid(), signal.{name})")
    _, said = process.communicate()
    assert process.returncode == 75
    assert said == f"taskaware: stopped by {name}; the same command goes on\n".encode()


def test_output_that_the_shell_closed_is_no_mistake():
    program = (
        "import sys; sys.stdout = None; from taskaware.cli import main; main.main(['--version'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
@pytest.mark.parametrize("moment", ["atexit.register(end)", "late = Late()"])
def test_a_signal_that_comes_while_python_leaves_changes_nothing(name: str, moment: str):
    code = (
        "import atexit, os, signal; from taskaware.cli.main import main\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"def end(kill=os.kill, own=os.getpid()): kill(own, {int(signal.Signals[name])})\n"
        "class Late:\n    def __del__(self, end=end): end()\n"
        f"{moment}\nmain(['--version'])"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")


def thread_that_fails(error: Exception) -> None:
    def fail() -> None:
        raise error

    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()


def test_what_ends_a_librarys_own_thread_is_one_message(capsys, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)  # is put back
    monkeypatch.setattr(main, "app", lambda *_, **__: 0)
    handlers = {name: signal.getsignal(name) for name in ENDING}
    try:
        with pytest.raises(SystemExit):
            main.main(["inspect", "model"])
    finally:
        for name, handler in handlers.items():
            signal.signal(name, handler)
    thread_that_fails(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "runs/mine/tensorboard"))
    said = capsys.readouterr().err
    assert said.startswith("taskaware: runs/mine/tensorboard: No space left on device; free some")
    assert said.count("\n") == 1
    thread_that_fails(ZeroDivisionError("a mistake of ours"))
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "there is no such file"),
        (lambda path: path.mkdir(), "must be a file, but is a folder"),
        (lambda path: path.write_bytes(b"a\ncaf\xe9\n"), "line 2: must be UTF-8, but has the byte"),
    ],
)
def test_a_text_file_that_is_given_and_cannot_be_read_is_misuse_and_named(
    make, words: str, tmp_path: Path, capsys
):
    wrong, right = tmp_path / "wrong.txt", tmp_path / "right.txt"
    right.write_text("a\n")
    make(wrong)
    assert main.run(["score", str(right), str(wrong)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"taskaware: {wrong}")
    assert words in said
    with pytest.raises(UserError, match=r"wrong\.txt"):
        serve._api_key(wrong)


def test_of_a_file_that_is_too_large_to_be_read_no_limit_of_the_system_is_blamed(
    tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
):
    key = tmp_path / "key"
    key.write_bytes(bytes(1 << 20))
    with pytest.raises(OSError, match="at most") as refused:
        serve._api_key(key)
    code, said = outcome(refused.value, capsys, monkeypatch)
    assert (code, "has more" in said, "ulimit" in said) == (1, True, False)
