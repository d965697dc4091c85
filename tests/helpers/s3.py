"""An object store: moto's server, a program of its own that speaks S3 over HTTP."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

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
