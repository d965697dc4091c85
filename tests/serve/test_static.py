"""The page's files: served by a table, compressed where the browser takes it."""

from __future__ import annotations

import gzip
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "static"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text("<!doctype html><title>page</title>")
    (folder / "assets" / "run.wasm").write_bytes(b"\0asm" * 100)
    (folder / "assets" / "run.wasm.gz").write_bytes(gzip.compress(b"\0asm" * 100))
    (folder / "worker.mjs").write_text("export {};")
    (tmp_path / "secret").write_text("secret")
    (folder / "link").symlink_to(folder / "index.html")
    module = SimpleNamespace(static_folder=lambda: folder)
    monkeypatch.setitem(sys.modules, "mobilesam.web", module)
    return folder


def test_the_page_is_served_with_its_types(make, page: Path) -> None:
    call = make()
    assert "<title>page</title>" in call("GET", "/").text
    assert call("GET", "/").headers["content-type"] == "text/html; charset=utf-8"
    assert call("GET", "/worker.mjs").headers["content-type"].startswith("text/javascript")
    assert call("HEAD", "/index.html").status_code == 200
    assert call("GET", "/../secret").status_code == 404
    assert call("GET", "/%2e%2e/secret").status_code == 404
    (page / "new.html").write_text("made after the start")
    assert call("GET", "/new.html").status_code == 404


def test_a_compressed_file_is_sent_where_the_browser_takes_it(make, page: Path) -> None:
    call = make()
    packed = call("GET", "/assets/run.wasm", headers={"Accept-Encoding": "gzip"})
    plain = call("GET", "/assets/run.wasm", headers={"Accept-Encoding": "identity"})
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert packed.content == plain.content == b"\0asm" * 100
    assert int(packed.headers["content-length"]) < int(plain.headers["content-length"])
    assert packed.headers["content-type"] == plain.headers["content-type"] == "application/wasm"


def test_an_installation_without_a_page_says_so(make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mobilesam.web", None)
    answer = make()("GET", "/")
    assert answer.status_code == 404
    assert "not part of this installation" in answer.text
