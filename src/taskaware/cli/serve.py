"""``taskaware serve``: a model as a service over HTTP, with a page."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from taskaware.cli.numbers import Count, between
from taskaware.errors import UserError, counted, require_packages
from taskaware.pipes import read_given_text

KEY_VARIABLE = "TASKAWARE_API_KEY"

_MOST_KEY_BYTES = 1 << 16

_Port = Annotated[int, between(0, 65_535)]


def serve(
    model: Path,
    /,
    *,
    host: str = "127.0.0.1",
    port: _Port = 8000,
    which: str = "model",
    device: Literal["auto", "cpu", "cuda"] = "auto",
    api_key_file: Path | None = None,
    allow_host: Annotated[tuple[str, ...], Parameter(negative=(), show_default=False)] = (),
    tasks_folder: Path | None = None,
    max_megabytes: Count | None = None,
    max_seconds: Count | None = None,
    max_waiting: Count | None = None,
    batch_size: Count | None = None,
    answer_seconds: Count | None = None,
) -> int:
    """Serve a model over HTTP: OpenAI's audio API, any task, and a page to try it.

    Needs the extra `serve`. The page is at `/`, the description of the API at `/docs`. Ctrl-C or
    SIGTERM ends the service once it has answered what it has taken.

    Parameters
    ----------
    model
        A model's folder, or a run's.
    host
        The address to listen on. Only this machine can use the default; 0.0.0.0 is for all.
    port
        The port to listen on; 0: any that is free.
    which
        Which of a run's models: model, best, average, taskwise/TASK.
    device
        Where to compute; auto: a CUDA device where there is one.
    api_key_file
        A file whose first line clients must send as their key. The variable TASKAWARE_API_KEY does
        the same.
    allow_host
        A further name under which the service may be asked, for example behind a proxy; the option
        can be repeated.
    tasks_folder
        Where tasks that clients make from examples are kept (default: in memory).
    max_megabytes
        The largest recording (default 25).
    max_seconds
        The longest recording (default 600).
    max_waiting
        Outputs that may wait or be in the making; more are answered by 429 (default 256).
    batch_size
        Outputs that are decoded together (default: the model's own setting).
    answer_seconds
        How long a request may wait for its answer (default 300).
    """
    packages = ("fastapi", "fastapi_offline", "uvicorn", "python_multipart", "prometheus_client")
    require_packages("serve", "serve", *packages)
    from taskaware.files import file_sha256
    from taskaware.inference.model import load
    from taskaware.inference.model_folder import find_model
    from taskaware.serve.app import create_app
    from taskaware.serve.guard import allowed_hosts
    from taskaware.serve.server import listen
    from taskaware.serve.server import serve as serve_forever
    from taskaware.serve.service import Service
    from taskaware.serve.settings import ServeSettings, is_loopback
    from taskaware.serve.task_book import require_writable
    from taskaware.settings import typed

    key = _api_key(api_key_file)
    given = {
        "max_upload_bytes": None if max_megabytes is None else max_megabytes * 1024 * 1024,
        "max_seconds": max_seconds,
        "max_waiting": max_waiting,
        "batch_size": batch_size,
        "answer_seconds": answer_seconds,
    }
    changes = {name: value for name, value in given.items() if value is not None}
    if max_waiting is not None:
        most = min(max_waiting, ServeSettings.max_outputs_a_request)
        changes["max_outputs_a_request"] = most
    settings = ServeSettings(**changes)
    typed.require_valid(settings, where="serve")
    if tasks_folder is not None:  # before a large model is loaded
        require_writable(tasks_folder)
    listening = listen(host, port)
    folder = find_model(model, which)
    service = Service(
        load(model, which=which, device=device),
        name=model.resolve().name,
        settings=settings,
        tasks_folder=tasks_folder,
        model_sha256="" if tasks_folder is None else file_sha256(folder / "model.safetensors"),
    )
    service.warm_up()
    shown = f"[{host.strip('[]')}]" if ":" in host else host
    address = f"http://{shown}:{listening.getsockname()[1]}"

    def say() -> None:
        tasks = counted(len(service.book.all()), "task")
        print(f"{model}: serving {tasks} at {address}", file=sys.stderr)
        if key is None and not is_loopback(host):
            print(
                "taskaware: warning: whoever reaches this address can use the service; "
                f"--api-key-file or {KEY_VARIABLE} asks for a key",
                file=sys.stderr,
            )

    app = create_app(service, api_key=key, hosts=allowed_hosts(host, allow_host))
    serve_forever(app, listening, settings, when_ready=say, when_stopping=app.refuse_the_rest)
    print("taskaware: stopped", file=sys.stderr)
    return 0


def _api_key(file: Path | None) -> str | None:
    """Return the key that clients must send, or ``None``.

    Raises:
        UserError: The file, or the variable that is set, holds none; or there is no such file.
    """
    if file is not None:
        text = read_given_text(file, most_bytes=_MOST_KEY_BYTES)
    elif not (text := os.environ.get(KEY_VARIABLE, "")):
        return None
    lines = text.splitlines()
    key = lines[0].strip() if lines else ""
    if not key or not key.isascii() or not key.isprintable():
        place = f"the variable {KEY_VARIABLE}" if file is None else str(file)
        found = "a character that is none of these" if key else "none"
        raise UserError(
            f"{place} must have a key of ASCII letters, digits and signs in its first line, but "
            f"has {found}"
        )
    return key
