"""How much more a service does for many clients at once than for one at a time.

    python benchmarks/serving.py runs/demo/implicit audio/*.flac --clients 64 --seconds 60

It starts ``taskaware serve`` and takes turns: one client that asks again once it has its answer,
then many of them. Every answer but 200 and 429 is an error, and is printed. A client that is told
429 waits as long as it is told.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import statistics
import subprocess
import sys
import time
from collections import Counter
from itertools import cycle
from pathlib import Path

import httpx

_READY_SECONDS = 300


def main() -> int:
    """Print the rates, and return 1 where there was an error."""
    parser = argparse.ArgumentParser(description="Loads a service with many clients.")
    parser.add_argument("model", type=Path)
    parser.add_argument("recordings", type=Path, nargs="+")
    parser.add_argument("--tasks", nargs="*", default=[], help="default: recognition")
    parser.add_argument("--form", default="json", help="response_format; srt: with times")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60, help="of many clients, in all")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--options", nargs="*", default=[], help="of serve, without dashes: a=1")
    arguments = parser.parse_args()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = [f"--{option}" for option in arguments.options]
    command = [sys.executable, "-m", "taskaware", "serve", str(arguments.model)]
    server = subprocess.Popen([*command, "--port", str(port), *options], env=os.environ)
    try:
        return asyncio.run(_measure(arguments, f"http://127.0.0.1:{port}"))
    finally:
        server.terminate()
        print(f"serve ended with exit code {server.wait(120)}")


async def _measure(arguments: argparse.Namespace, address: str) -> int:
    limits = httpx.Limits(max_connections=arguments.clients)
    async with httpx.AsyncClient(base_url=address, timeout=600, limits=limits) as client:
        await _ready(client)
        load = _Load(client, arguments.recordings, arguments.tasks or [""], arguments.form)
        await load.run(1, 1.0)  # what is slow once
        load.statuses.clear()
        each = arguments.seconds / arguments.rounds
        alone, together, times = [], [], []
        for _ in range(arguments.rounds):
            alone.append(await load.run(1, max(each / 2, 1.0)))
            load.seconds.clear()
            together.append(await load.run(arguments.clients, each))
            times += load.seconds
        ratio = statistics.median(many / one for one, many in zip(alone, together, strict=True))
        print(f"one client:  {statistics.median(alone):8.2f} answers a second")
        print(f"{arguments.clients:2} clients:  {statistics.median(together):8.2f}")
        print(f"ratio:       {ratio:8.2f} (median of {arguments.rounds} rounds in turn)")
        print(f"seconds of an answer among many: median {statistics.median(times):.2f}, ", end="")
        print(f"longest {max(times):.2f}")
        print(f"statuses: {dict(load.statuses)}")
        return 1 if set(load.statuses) - {200, 429} else 0


async def _ready(client: httpx.AsyncClient) -> None:
    for _ in range(_READY_SECONDS):
        try:
            if (await client.get("/health")).status_code == 200:
                return
        except httpx.ConnectError:
            await asyncio.sleep(1)
    raise SystemExit("the service does not start")


class _Load:
    def __init__(
        self, client: httpx.AsyncClient, paths: list[Path], tasks: list[str], form: str
    ) -> None:
        self._client = client
        self._form = form
        self._next = cycle([(path.read_bytes(), task) for path in paths for task in tasks])
        self.statuses: Counter[int] = Counter()
        self.seconds: list[float] = []

    async def run(self, clients: int, seconds: float) -> float:
        """Return the answers a second; each client ends with the answer it waits for."""
        begun = time.perf_counter()
        counts = await asyncio.gather(*(self._ask(begun + seconds) for _ in range(clients)))
        return sum(counts) / (time.perf_counter() - begun)

    async def _ask(self, end: float) -> int:
        count = 0
        while (begun := time.perf_counter()) < end:
            content, task = next(self._next)
            answer = await self._client.post(
                "/v1/audio/transcriptions",
                data={"model": "whisper-1", "response_format": self._form}
                | ({"task": task} if task else {}),
                files={"file": ("recording", content)},
            )
            self.statuses[answer.status_code] += 1
            if answer.status_code == 429:
                await asyncio.sleep(float(answer.headers["Retry-After"]))
            elif answer.status_code == 200:
                self.seconds.append(time.perf_counter() - begun)
                count += 1
            else:
                print(answer.status_code, answer.text)
        return count


if __name__ == "__main__":
    sys.exit(main())
