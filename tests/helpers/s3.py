"""An object store: moto's server, a program of its own that speaks S3 over HTTP."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from urllib.parse import urlparse

import pytest

from mobilesam.remote import filesystem

needs_store = pytest.mark.skipif(
    not (find_spec("moto") and find_spec("s3fs")), reason="moto's server and s3fs are not installed"
)


def start() -> tuple[subprocess.Popen[bytes], dict[str, str]]:
    """Start a server; returns it and the environment that leads to it."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    values = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
    limit = time.monotonic() + 60
    while time.monotonic() < limit:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.1)
    return server, values


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    """The address of an empty bucket."""
    server, values = start()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in values.items():
            patch.setenv(name, value)
        filesystem("s3://photos")[0].mkdir("photos")
        yield "s3://photos"
        server.kill()
        server.wait()


def put(source: Path, url: str) -> None:
    """Upload a file, or the files of a folder under a prefix."""
    found, path = filesystem(url)
    for file in [source] if source.is_file() else source.rglob("*.*"):
        found.put_file(str(file), path if source.is_file() else f"{path}/{file.relative_to(source).as_posix()}")
    found.invalidate_cache()


def drop(url: str) -> None:
    """Remove a bucket with everything in it."""
    found, path = filesystem(url)
    found.rm(path, recursive=True)
    found.invalidate_cache()


Fault = tuple[int, str]
"""The status and S3's code of an answer, such as (403, "AccessDenied")."""


class Proxy(ThreadingHTTPServer):
    """A server in front of the store, which counts what the store gives and can answer in its place.

    Args:
        port: of the store.
    """

    daemon_threads = True

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.store_port = port
        self.given = 0
        """Bytes of all answers to reading."""
        self.answer: Callable[[str, str], Fault | None] = lambda method, path: None
        """The answer to a request in place of the store's."""


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    server: Proxy

    def handle_any(self) -> None:
        """Pass a request on."""
        body = self.read_body()
        fault = self.server.answer(self.command, self.path)
        if fault is not None:
            data = f"<Error><Code>{fault[1]}</Code><Message>{fault[1]}</Message></Error>".encode()
            self.reply(fault[0], {"Content-Type": "application/xml"}, data)
            return
        passed = {name: value for name, value in self.headers.items() if name.lower() != "transfer-encoding"}
        connection = HTTPConnection("127.0.0.1", self.server.store_port)
        connection.request(self.command, self.path, body, {**passed, "Content-Length": str(len(body))})
        answer = connection.getresponse()
        data = answer.read()
        if self.command == "GET":
            self.server.given += len(data)
        left_out = ("transfer-encoding", "connection", "date", "server")
        headers = {name: value for name, value in answer.getheaders() if name.lower() not in left_out}
        self.reply(answer.status, headers, data)
        connection.close()

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_any  # noqa: N815

    def read_body(self) -> bytes:
        """The body of the request."""
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def reply(self, status: int, headers: dict[str, str], data: bytes) -> None:
        """Send an answer."""
        self.send_response(status)
        for name, value in headers.items():
            if self.command == "HEAD" or name.lower() != "content-length":
                self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def proxied() -> Iterator[Proxy]:
    """Put a proxy in front of the store of the fixture; nothing is tried again meanwhile."""
    address = os.environ["AWS_ENDPOINT_URL"]
    proxy = Proxy(int(urlparse(address).port or 0))
    Thread(target=proxy.serve_forever, daemon=True).start()
    kind = type(filesystem("s3://photos")[0])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{proxy.server_port}")
        patch.setenv("AWS_MAX_ATTEMPTS", "1")
        patch.setattr(kind, "retries", 1)
        kind.clear_instance_cache()
        try:
            yield proxy
        finally:
            proxy.shutdown()
            proxy.server_close()
            kind.clear_instance_cache()
