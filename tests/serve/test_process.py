"""The command `mobilesam serve` as a process: stopping, workers, and clients that die."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from mobilesam.errors import SettingsError
from mobilesam.serve import run
from mobilesam.serve.settings import ServeSettings

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


@contextmanager
def running(*words: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A service on a free port: the process and its address."""
    command = [sys.executable, "-m", "mobilesam", "serve", "--port", "0", "--backend", "onnx", *words]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | environment
    ) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().strip()
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            try:
                process.communicate(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()


def test_sigterm_finishes_what_runs_and_exits_with_0(coffee: Path) -> None:
    with running("--set", "queue=8") as (process, address):
        photo = coffee.read_bytes()
        answers: list[httpx.Response] = []

        def everything() -> None:
            with httpx.Client(base_url=address, timeout=30) as client:
                settings = {"settings": '{"points_per_side": 12}'}
                job = client.post("/v1/everything", files={"photo": photo}, data=settings).json()
                answers.append(client.get(job["links"]["events"]))

        thread = threading.Thread(target=everything)
        thread.start()
        with httpx.Client(base_url=address, timeout=30) as client:
            while "mobilesam_jobs 1" not in client.get("/metrics").text:
                time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        thread.join(30)
        _, errors = process.communicate(timeout=30)
        assert process.returncode == 0, errors
        assert "event: done" in answers[0].text
        assert "Traceback" not in errors
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{address}/healthz")


def test_clients_that_die_while_they_send_do_no_harm(coffee: Path) -> None:
    with running() as (process, address):
        host, port = address.removeprefix("http://").split(":")
        for _ in range(20):
            client = socket.create_connection((host, int(port)))
            client.sendall(b"POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900000\r\n\r\nabc")
            client.setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0"
            )  # as the kernel does for the dead
            client.close()
        with httpx.Client(base_url=address, timeout=30) as client:  # type: ignore[assignment]
            made = client.post("/v1/embeddings", files={"photo": coffee.read_bytes()})  # type: ignore[attr-defined]
            assert made.status_code == 201
            time.sleep(0.1)
            text = client.get("/metrics").text  # type: ignore[attr-defined]
            assert "mobilesam_upload_bytes 0" in text
            assert "mobilesam_requests_in_progress 1" in text
        assert process.poll() is None


def test_workers_share_embeddings_and_a_killed_one_is_replaced(coffee: Path) -> None:
    with running("--workers", "2", "--set", "queue=8") as (process, address):
        with httpx.Client(base_url=address, timeout=60) as client:
            key = client.post("/v1/embeddings", files={"photo": coffee.read_bytes()}).json()["id"]
        pids: set[int] = set()
        start = time.monotonic()
        while len(pids) < 2 and time.monotonic() < start + 30:
            with httpx.Client(base_url=address, timeout=30) as client:  # a new connection may reach another worker
                answer = client.post(f"/v1/embeddings/{key}/segment", json={"points": [[300, 180]]})
                assert answer.status_code == 200
                text = client.get("/metrics").text
                pids.add(int(text.partition("\nmobilesam_worker_pid ")[2].split()[0]))
        assert len(pids) == 2
        os.kill(min(pids), signal.SIGKILL)
        for _ in range(20):
            try:
                with httpx.Client(base_url=address, timeout=30) as client:
                    answer = client.post(f"/v1/embeddings/{key}/segment", json={"points": [[300, 180]]})
                    assert answer.status_code == 200
            except httpx.TransportError:
                time.sleep(0.05)  # it was accepted by the one that was killed
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=30)
        assert process.returncode == 0, errors


def test_open_shows_the_page_in_the_users_browser(tmp_path: Path) -> None:
    told = tmp_path / "told"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {told}.part && mv {told}.part {told}\n')
    browser.chmod(0o755)
    with running("--open", BROWSER=f"{browser} %s") as (_, address):
        end = time.monotonic() + 20
        while not told.exists() and time.monotonic() < end:
            time.sleep(0.02)
        assert told.read_text().strip() == address
        assert httpx.get(address, timeout=30).status_code == 200
    told.unlink()
    with running(BROWSER=f"{browser} %s") as (_, address):
        assert httpx.get(f"{address}/healthz", timeout=30).status_code == 200
    assert not told.exists(), "only where it was asked for"


@pytest.mark.parametrize(
    ("host", "shown"),
    [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]"), ("0.0.0.0", "localhost"), ("::", "localhost")],
)
def test_the_browser_gets_an_address_it_can_go_to(
    host: str, shown: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[str] = []
    monkeypatch.setattr("webbrowser.open", asked.append)  # its answer is None: as if no browser was found
    run._announce(ServeSettings(host=host, no_auth=True), 8000, opens_browser=True)
    end = time.monotonic() + 10
    while "yourself" not in caplog.text and time.monotonic() < end:
        time.sleep(0.01)
    assert asked == [f"http://{shown}:8000"]
    assert f"open http://{shown}:8000 yourself" in caplog.text


def test_no_answer_waits_for_the_client_to_confirm_its_headers() -> None:
    with (
        run._bind("127.0.0.1", 0) as listener,
        socket.create_connection(listener.getsockname()),
    ):
        connection, _ = listener.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EADDRINUSE, "'port' 8000 of 127.0.0.1 is in use: stop what listens there, or let --port 0 choose"),
        (errno.EACCES, "'port' 8000 of 127.0.0.1 needs rights that you do not have: choose one above 1023"),
        (errno.EADDRNOTAVAIL, "'host' 127.0.0.1 is no address of this machine"),
        (errno.ENFILE, "cannot listen on 127.0.0.1, port 8000 ("),
    ],
)
def test_where_it_cannot_listen_the_address_is_named_before_the_model_is_loaded(
    number: int, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(listener: socket.socket, address: tuple[str, int]) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(socket.socket, "bind", refuse)
    monkeypatch.setattr(run, "load_model", lambda settings: pytest.fail("the model was loaded first"))
    monkeypatch.setattr(run.logging.config, "dictConfig", lambda config: None)
    with pytest.raises(SettingsError) as caught:
        run.serve(ServeSettings())
    assert words in str(caught.value)


def test_a_name_that_is_no_host_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(listener: socket.socket, address: tuple[str, int]) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket.socket, "bind", unknown)
    with pytest.raises(SettingsError, match="'host' nowhere is no address of this machine"):
        run._bind("nowhere", 0)


def test_a_taken_port_and_an_open_host_are_explained() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for words, code, sentence in (
            (("--port", str(port)), 2, f"'port' {port} of 127.0.0.1 is in use"),
            (("--host", "0.0.0.0"), 2, "--no-auth"),
            (("--set", "qeue=3"), 2, "did you mean 'queue'?"),
        ):
            command = [sys.executable, "-m", "mobilesam", "serve", "--backend", "onnx", *words]
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
            assert done.returncode == code, done.stderr
            assert sentence in done.stderr
            assert "Traceback" not in done.stderr
