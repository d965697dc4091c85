"""Downloads, against a local server that does everything a server can do wrong."""

from __future__ import annotations

import hashlib
import logging
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

import mobilesam
from mobilesam import weights
from mobilesam.errors import DownloadError, ModelError
from mobilesam.temporaries import sweep
from mobilesam.weights import MODELS, ModelSpec

PAYLOAD = bytes(range(256)) * 400


class Misbehaving(BaseHTTPRequestHandler):
    """/good, /truncate, /corrupt, /stall, /refuse, /endless; /flaky fails once, then is good."""

    failures: ClassVar[dict[str, int]] = {}
    payload = PAYLOAD
    sent: ClassVar[int] = 0

    def do_GET(self) -> None:
        behaviour = self.path.strip("/").split(".")[0]
        if behaviour == "flaky":
            self.failures["flaky"] = self.failures.get("flaky", 0) + 1
            behaviour = "truncate" if self.failures["flaky"] == 1 else "good"
        if behaviour == "refuse":
            self.send_error(403, "Forbidden")
            return
        self.send_response(200)
        if behaviour == "endless":
            self.end_headers()
            with suppress(OSError):  # until the client leaves
                for _ in range(2000):
                    self.wfile.write(self.payload)
                    Misbehaving.sent += len(self.payload)
            return
        self.send_header("Content-Length", str(len(self.payload)))
        self.end_headers()
        if behaviour == "good":
            self.wfile.write(self.payload)
        elif behaviour == "corrupt":
            self.wfile.write(b"\xff" + self.payload[1:])
        else:
            self.wfile.write(self.payload[: len(self.payload) // 2])
            self.wfile.flush()
            if behaviour == "stall":
                time.sleep(3)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    Misbehaving.failures.clear()
    Misbehaving.sent = 0
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Misbehaving)
    httpd.daemon_threads = True
    thread = threading.Thread(target=httpd.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_address[1]}"
    httpd.shutdown()
    thread.join()
    httpd.server_close()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MOBILESAM_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def spec_at(url: str, payload: bytes = PAYLOAD) -> ModelSpec:
    return ModelSpec("m", "", "", url, hashlib.sha256(payload).hexdigest(), len(payload))


def test_a_good_download_is_verified_cached_and_not_fetched_twice(server: str, home: Path) -> None:
    spec = spec_at(f"{server}/good.pt")
    path = weights.download(spec, show_progress=False)
    assert path.parent == home
    assert path.suffix == ".pt"
    assert path.read_bytes() == PAYLOAD
    assert weights.is_verified(spec)
    gone = replace(spec, url="http://127.0.0.1:9/gone.pt")
    assert weights.download(gone, show_progress=False) == path


@pytest.mark.parametrize("behaviour", ["truncate", "corrupt", "stall", "refuse"])
def test_a_bad_download_fails_clearly_and_leaves_nothing(server: str, home: Path, behaviour: str) -> None:
    spec = spec_at(f"{server}/{behaviour}.pt")
    with pytest.raises(DownloadError, match=f"could not download 'm'.*{behaviour}.*sha256"):
        weights.download(spec, show_progress=False, timeout=0.5, retries=0)
    assert not [p for p in home.rglob("*") if p.is_file()]
    assert not weights.is_verified(spec)


def test_a_server_that_does_not_end_is_left_at_the_known_size(server: str, home: Path) -> None:
    spec = spec_at(f"{server}/endless.pt")
    with pytest.raises(DownloadError, match=r"more than the 102,400 bytes"):
        weights.download(spec, show_progress=False, retries=0)
    assert Misbehaving.sent < 200 * len(PAYLOAD)  # of 2000: what fits into buffers
    assert not [p for p in home.rglob("*") if p.is_file()]


KILLED = """
import sys
from mobilesam import weights
from mobilesam.temporaries import sweep
spec = weights.ModelSpec("m", "", "", sys.argv[1], sys.argv[2], int(sys.argv[3]))
print("starts", flush=True)
weights.download(spec, show_progress=False, timeout=60)
"""


def test_what_a_killed_download_left_is_swept_and_one_under_way_is_not(server: str, home: Path) -> None:
    home.mkdir()
    mine = home / "tmp-of-mine.pt"
    mine.write_bytes(b"x")
    spec = spec_at(f"{server}/stall.pt")
    arguments = [sys.executable, "-c", KILLED, spec.url, spec.sha256, str(spec.num_bytes)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE) as process:
        while len(left := [p for p in home.iterdir() if p.stat().st_size > 1000]) < 1:
            time.sleep(0.02)
        good = replace(spec, url=f"{server}/good.pt")
        sweep(home)
        assert left[0].exists(), "somebody writes it"
        process.kill()
    assert left[0].exists()
    path = weights.download(good, show_progress=False)
    assert sorted(home.iterdir()) == sorted([mine, path])


def test_no_connection_fails_clearly(home: Path) -> None:
    with pytest.raises(DownloadError, match="could not download"):
        weights.download(spec_at("http://127.0.0.1:9/x.pt"), show_progress=False, timeout=1, retries=0)


def test_the_hosts_logging_is_left_as_it_is(server: str, home: Path, caplog: pytest.LogCaptureFixture) -> None:
    import pooch

    logger = pooch.get_logger()
    before = logger.level
    logger.addHandler(caplog.handler)
    try:
        logger.setLevel("INFO")
        weights.download(spec_at(f"{server}/flaky.pt"), show_progress=False)
        assert logger.level == logging.INFO
    finally:
        logger.setLevel(before)
        logger.removeHandler(caplog.handler)
    assert not caplog.records


def test_a_failed_download_is_tried_again(server: str, home: Path) -> None:
    assert weights.download(spec_at(f"{server}/flaky.pt"), show_progress=False, retries=1).read_bytes() == PAYLOAD


def test_a_file_damaged_in_the_cache_is_replaced(server: str, home: Path) -> None:
    spec = spec_at(f"{server}/good.pt")
    path = weights.download(spec, show_progress=False)
    path.write_bytes(b"damaged")
    assert not weights.is_verified(spec)
    assert weights.download(spec, show_progress=False).read_bytes() == PAYLOAD


@pytest.mark.torch
def test_a_published_checkpoint_is_downloaded_converted_once_and_then_needs_no_torch(
    server: str, home: Path, monkeypatch: pytest.MonkeyPatch, tiny_checkpoint: Path, coffee: Path
) -> None:
    payload = tiny_checkpoint.read_bytes()
    monkeypatch.setattr(Misbehaving, "payload", payload)
    monkeypatch.setitem(MODELS, "m", spec_at(f"{server}/good.safetensors", payload))
    first = mobilesam.load("m")
    assert first.embed(coffee).predict(points=[(300, 180)]).masks.shape == (3, 400, 600)
    monkeypatch.setattr("mobilesam.extras.find_spec", lambda name: None)  # torch is gone
    assert mobilesam.load("m").info == first.info


def test_the_table_is_complete_and_pinned() -> None:
    assert list(MODELS) == ["embedded", "mobile_sam", "sam_vit_b", "sam_vit_l", "sam_vit_h"]
    for spec in MODELS.values():
        assert spec.licence
        if spec.name != weights.EMBEDDED:
            assert spec.url.startswith("https://")
            assert re.fullmatch("[0-9a-f]{64}", spec.sha256)
            assert spec.num_bytes > 40_000_000
    assert not MODELS["mobile_sam"].sha256.startswith("f3c0d8cd"), "the md5 with an invented tail"
    with pytest.raises(ModelError, match="known: embedded"):
        weights.get_spec("nope")


def test_the_cache_is_the_users_unless_overridden(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MOBILESAM_HOME", str(tmp_path))
    assert weights.cache_folder() == tmp_path
    monkeypatch.delenv("MOBILESAM_HOME")
    assert weights.cache_folder().name == "mobilesam"


def test_the_embedded_pair_is_inside_the_package() -> None:
    assert weights.has_pair(weights.pair_folder(MODELS["embedded"]))
