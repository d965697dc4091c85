"""The page in a real browser: Chromium, driven by Playwright, on static files that nothing but http.server serves."""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from mobilesam.web import write_page
from tests.web.driver import FLAGS, Opened, open_page

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Handler(http.server.SimpleHTTPRequestHandler):
    """The plainest web host: no header that helps the page."""

    extensions_map: ClassVar[dict[str, str]] = {  # type: ignore[misc]
        **http.server.SimpleHTTPRequestHandler.extensions_map,
        ".js": "text/javascript",
        ".mjs": "text/javascript",
        ".webmanifest": "application/manifest+json",
    }

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="session")
def page_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `mobilesam page` writes."""
    folder = tmp_path_factory.mktemp("page")
    write_page(folder)
    return folder


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium; where it is missing, tests are skipped, but in CI they fail."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: no test of the page")
    if CHROMIUM is None:
        word = "Chromium is not installed (apt-get install chromium): the page was not tested"
        if os.environ.get("CI") == "true":
            pytest.fail(word)
        pytest.skip(word)
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def host(page_folder: Path) -> Iterator[http.server.ThreadingHTTPServer]:
    """The page on a port of its own, which a test may close to be offline."""
    yield from serve(page_folder)


@pytest.fixture(scope="session")
def site(page_folder: Path) -> Iterator[str]:
    """Address of the page, for all tests that need no host of their own."""
    for server in serve(page_folder):
        yield f"http://127.0.0.1:{server.server_port}/"


def serve(folder: Path) -> Iterator[http.server.ThreadingHTTPServer]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="session")
def loaded(browser: Any, site: str) -> Iterator[Opened]:
    """The page with its model loaded; until the end it writes neither error nor warning to the console."""
    opened = open_page(browser, site)
    yield opened
    opened.close()
    assert opened.complaints == []


@pytest.fixture
def coffee_page(loaded: Opened) -> Opened:
    """The page with coffee.png open, 600x400, and nothing cut out."""
    if loaded.page.evaluate("document.getElementById('file-name').textContent").startswith("coffee"):
        loaded.start_anew()
    else:
        loaded.example("coffee")
    return loaded
