"""What the benchmarks of the service share: a lean HTTP client, services as processes, and their memory."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.common import ROOT

LIMIT = 60.0  # seconds after which a request counts as hanging


class Connection:
    """One connection that is kept open; a client that costs little beside the service that it measures."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, method: str, path: str, body: bytes = b"", kind: str = "application/json") -> tuple[int, bytes]:
        """Send a request; returns the status and the body, and status 0 where the connection broke."""
        head = f"{method} {path} HTTP/1.1\r\nHost: {self._host}:{self._port}\r\nContent-Length: {len(body)}\r\n"
        try:
            if self._streams is None:
                self._streams = await asyncio.open_connection(self._host, self._port)
            reader, writer = self._streams
            writer.write(f"{head}Content-Type: {kind}\r\n\r\n".encode() + body)
            await writer.drain()
            return await asyncio.wait_for(self._answer(reader), LIMIT)
        except (OSError, asyncio.IncompleteReadError):
            self.close()
            return 0, b""

    async def _answer(self, reader: asyncio.StreamReader) -> tuple[int, bytes]:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
        content = await reader.readexactly(int(fields.get("content-length", 0)))
        if fields.get("connection", "").lower() == "close":
            self.close()
        return int(head[0].split()[1]), content

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


class Server:
    """A service in a process of its own."""

    def __init__(self, process: subprocess.Popen[str], address: str) -> None:
        self.process = process
        self.host, _, port = address.removeprefix("http://").rpartition(":")
        self.port = int(port)

    def connection(self) -> Connection:
        """A new connection to it."""
        return Connection(self.host, self.port)

    def memory(self) -> float:
        """Resident memory of its processes, in MB."""
        return sum(_resident(pid) for pid in [self.process.pid, *children(self.process.pid)]) / 1e6


@contextmanager
def serving(*words: str, log: Path | None = None) -> Iterator[Server]:
    """Run a Python command that prints its address first, until the block ends."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")])}
    with open(log or os.devnull, "w", encoding="utf-8") as errors:
        process = subprocess.Popen(
            [sys.executable, *words], stdout=subprocess.PIPE, stderr=errors, text=True, env=environment
        )
        assert process.stdout is not None
        try:
            address = process.stdout.readline().strip()
            if not address:
                raise RuntimeError(f"the service did not start: {' '.join(words)}")
            yield Server(process, address)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
            process.stdout.close()


def children(pid: int) -> list[int]:
    """Processes that a process started, on Linux."""
    try:
        found = [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
    return found + [inner for child in found for inner in children(child)]


def _resident(pid: int) -> int:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def form(photo: bytes) -> tuple[bytes, str]:
    """A multipart body with a photo, and its content type."""
    head = b'--xx\r\nContent-Disposition: form-data; name="photo"; filename="p.png"\r\n\r\n'
    return head + photo + b"\r\n--xx--\r\n", "multipart/form-data; boundary=xx"
