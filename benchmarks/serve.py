"""The service under load: throughput, latency and memory; overload; clients and workers that are killed.

    python -m benchmarks.serve [--seconds 60] [--clients 1 8 64] [--no-plain]

The request is a click on an embedded photo, with three masks as run lengths. Closed load: each client sends its next
request when it has its answer; one that gets 503 waits as `Retry-After` says. Open load: requests come at random times
at half the capacity, over as many connections; their time counts from when they were due. Capacity is the throughput of
closed load at its best. The plain service is benchmarks/plain_service.py: FastAPI around torch, in the same run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.common import ROOT, machine, make_pair, make_parser, parse
from benchmarks.wire import Connection, Server, children, form, serving

CLICK = json.dumps({"points": [[300, 180]]}).encode()
PHOTO = ROOT / "examples" / "coffee.png"
KILLS = 20


@dataclass
class Load:
    """What came of one load."""

    name: str
    seconds: float = 0.0
    times: list[float] = field(default_factory=list)
    """Seconds of each request that was answered with 200."""
    codes: Counter[int] = field(default_factory=Counter)
    memory: list[float] = field(default_factory=list)
    """MB, ten times a second."""

    @property
    def rate(self) -> float:
        """Answered requests per second."""
        return len(self.times) / self.seconds

    def quantile(self, share: float) -> float:
        """Milliseconds that this share of the answered requests did not exceed."""
        return 1000 * float(np.quantile(self.times, share)) if self.times else float("inf")

    def row(self) -> str:
        """A row of the table."""
        others = {code: n for code, n in self.codes.items() if code not in (200, 503)}
        numbers = " | ".join(f"{self.quantile(share):.1f}" for share in (0.5, 0.95, 0.99))
        failed = ", ".join(f"{n} of {code}" for code, n in others.items()) or "0"
        return f"| {self.name} | {self.rate:.1f} | {numbers} | {self.codes[503]} | {failed} | {max(self.memory):.0f} |"


HEAD = "| load | answered/s | p50 ms | p95 ms | p99 ms | 503 | failed | peak MB |\n|---|---|---|---|---|---|---|---|"


async def embed(server: Server) -> str:
    """Embed the photo; returns the path of its clicks."""
    body, kind = form(PHOTO.read_bytes())
    while True:
        status, answer = await server.connection().ask("POST", "/v1/embeddings", body, kind)
        if status in (200, 201):
            return f"/v1/embeddings/{json.loads(answer)['id']}/segment"
        await asyncio.sleep(0.2)


async def click(load: Load, connection: Connection, path: str, due: float) -> int:
    """One click, whose time counts from `due`."""
    status, _ = await connection.ask("POST", path, CLICK)
    load.codes[status] += 1
    if status == 200:
        load.times.append(time.perf_counter() - due)
    return status


async def closed(load: Load, server: Server, path: str, clients: int, seconds: float) -> None:
    """Clients that wait for each answer."""
    end = time.perf_counter() + seconds

    async def client() -> None:
        connection = server.connection()
        while time.perf_counter() < end:
            if await click(load, connection, path, time.perf_counter()) == 503:
                await asyncio.sleep(random.uniform(0.5, 1))
        connection.close()

    await asyncio.gather(*(client() for _ in range(clients)))


async def arriving(load: Load, server: Server, path: str, clients: int, seconds: float, rate: float) -> None:
    """Requests at random times, over a number of connections."""
    free: asyncio.Queue[Connection] = asyncio.Queue()
    for _ in range(clients):
        free.put_nowait(server.connection())

    async def one(due: float) -> None:
        connection = await free.get()
        await click(load, connection, path, due)
        free.put_nowait(connection)

    start, tasks = time.perf_counter(), []
    due = start
    while (due := due + random.expovariate(rate)) < start + seconds:
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        tasks.append(asyncio.ensure_future(one(due)))
    await asyncio.gather(*tasks)


async def measured(name: str, server: Server, work: Callable[[Load], Awaitable[None]]) -> Load:
    """Run a load and watch the service's memory."""
    load = Load(name, memory=[server.memory()])  # at least one: a short open load may have no request to wait for

    async def watch() -> None:
        while True:
            await asyncio.sleep(0.1)
            load.memory.append(server.memory())

    watcher = asyncio.ensure_future(watch())
    start = time.perf_counter()
    await work(load)
    load.seconds = time.perf_counter() - start
    watcher.cancel()
    print(load.row(), flush=True)
    return load


async def loads(server: Server, clients: list[int], seconds: float) -> tuple[float, Load]:
    """Closed and open load; returns the capacity, and closed load of the fewest clients."""
    path = await embed(server)
    await closed(Load("warm-up"), server, path, 1, min(2.0, seconds))
    found = []
    for count in clients:
        name = f"closed, {count} clients"
        found.append(await measured(name, server, lambda load, n=count: closed(load, server, path, n, seconds)))  # type: ignore[misc]
    capacity = max(1.0, *(load.rate for load in found))
    for count in clients:
        name = f"open, {count} clients, {capacity / 2:.0f}/s"
        await measured(
            name,
            server,
            lambda load, n=count: arriving(load, server, path, n, seconds, capacity / 2),  # type: ignore[misc]
        )
    return capacity, found[0]


async def overload(server: Server, capacity: float, alone: Load, seconds: float) -> None:
    """Three times the capacity: who is accepted is served almost as if alone, the rest is refused."""
    path = await embed(server)
    before = server.memory()
    name = f"overload, {3 * capacity:.0f}/s"
    load = await measured(name, server, lambda load: arriving(load, server, path, 256, seconds, 3 * capacity))
    ratio = load.quantile(0.99) / alone.quantile(0.99)
    asked = sum(load.codes.values())
    print(
        f"\noverload: {asked} requests, {load.codes[200]} answered, {load.codes[503]} refused with 503, "
        f"{asked - load.codes[200] - load.codes[503]} neither; p99 of the answered is {ratio:.2f} times that of one "
        f"client alone; memory {before:.0f} MB before, {max(load.memory):.0f} MB at most"
    )


async def kill_clients(server: Server, count: int) -> None:
    """Clients that are killed in the middle of an upload."""
    code = (
        f"import socket,time; s=socket.create_connection(({server.host!r},{server.port})); "
        "s.sendall(b'POST /v1/embeddings HTTP/1.1\\r\\nHost: localhost\\r\\nContent-Length: 9000000\\r\\n\\r\\n'); "
        "s.sendall(b'x'*1000000); print(1, flush=True); time.sleep(60)"
    )
    for _ in range(count):
        with subprocess.Popen([sys.executable, "-S", "-c", code], stdout=subprocess.PIPE) as client:
            assert client.stdout is not None
            client.stdout.readline()
            client.kill()
    path = await embed(server)
    status, _ = await server.connection().ask("POST", path, CLICK)
    _, metrics = await server.connection().ask("GET", "/metrics")
    held = metrics.decode().partition("\nmobilesam_upload_bytes ")[2].split()[0]
    print(f"{count} clients killed while they sent: the next click gets {status}, {held} bytes of theirs are held")


async def kill_worker(seconds: float) -> None:
    """One of two workers is killed under load."""
    with serving(*OURS, "--workers", "2", "--set", "queue=8") as server:
        path = await embed(server)
        load = Load("worker killed")
        work = asyncio.ensure_future(closed(load, server, path, 4, max(3.0, seconds)))
        await asyncio.sleep(0.5)
        workers = _workers(server)
        os.kill(workers[-1], signal.SIGKILL)
        await work
        status, _ = await server.connection().ask("POST", path, CLICK)
        end = time.perf_counter() + 20  # to start a worker takes seconds
        while len(_workers(server)) < len(workers) and time.perf_counter() < end:
            await asyncio.sleep(0.2)
        left = _workers(server)
        broken = sum(n for code, n in load.codes.items() if code not in (200, 503))
        print(
            f"1 of {len(workers)} workers killed: {load.codes[200]} clicks answered, {broken} connections broke, "
            f"{len(left)} workers afterwards, the next click gets {status}"
        )


def _workers(server: Server) -> list[int]:
    """Process ids of a service's workers."""
    return [pid for pid in children(server.process.pid) if b"spawn_main" in _command(pid)]


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


OURS = ("-m", "mobilesam", "serve", "--port", "0")


def run(arguments: argparse.Namespace, pair: Path) -> None:
    """All measurements, one after the other."""
    words = [word for setting in arguments.set or [] for word in ("--set", setting)]
    print(f"mobilesam serve, click on an embedded photo, {arguments.seconds:g} s each\n\n{HEAD}")
    with serving(*OURS, "--backend", arguments.backend, *words) as server:
        capacity, alone = asyncio.run(loads(server, arguments.clients, arguments.seconds))
        asyncio.run(overload(server, capacity, alone, arguments.seconds))
        asyncio.run(kill_clients(server, arguments.kills))
    asyncio.run(kill_worker(arguments.seconds / 4))
    if arguments.plain:
        print(f"\nthe plain service\n\n{HEAD}")
        with serving("-c", f"from benchmarks.plain_service import serve; serve({str(pair)!r})") as server:
            plain, plain_alone = asyncio.run(loads(server, arguments.clients, arguments.seconds))
        print(
            f"\nours to plain: {capacity / plain:.2f} of the throughput, "
            f"{alone.quantile(0.5) / plain_alone.quantile(0.5):.2f} of the median of one client"
        )


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="of each load")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--kills", type=int, default=KILLS)
    parser.add_argument("--backend", choices=("auto", "onnx", "openvino"), default="auto")
    parser.add_argument("--set", action="append", help="a setting of the service, such as queue=4; repeatable")
    parser.add_argument("--plain", action=argparse.BooleanOptionalAction, default=True)
    smoke = ("--seconds", "0.3", "--clients", "1", "2", "--kills", "2", "--backend", "onnx")
    arguments = parse(parser, lambda _: smoke)
    random.seed(0)
    print(machine(os.cpu_count() or 1, ("onnxruntime", "openvino", "torch", "fastapi", "uvicorn")) + "\n")
    with tempfile.TemporaryDirectory() as folder:
        make_pair("embedded", Path(folder))
        run(arguments, Path(folder))


if __name__ == "__main__":
    main()
