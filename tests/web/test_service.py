"""The page as `mobilesam serve` shows it: a process of its own, with its real headers, in a real browser."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.web.driver import Opened, iou, open_page

pytest.importorskip("uvicorn", reason="the service needs the extra 'serve'")
pytest.importorskip("fastapi", reason="the service needs the extra 'serve'")
CUP = (290, 120)
BLOCKED = "Service Worker registration blocked by Playwright"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Address of a running service."""
    command = [sys.executable, "-m", "mobilesam", "serve", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)


@pytest.fixture(scope="module")
def asked() -> list[tuple[str, str]]:
    """Method and address of what the page asks for."""
    return []


@pytest.fixture(scope="module")
def served(browser: Any, address: str, asked: list[tuple[str, str]]) -> Iterator[Opened]:
    """The page of the service, without its service worker: every header is the service's own."""
    opened = open_page(browser, address, service_workers="block")
    opened.context.on("request", lambda request: asked.append((request.method, request.url)))
    yield opened
    opened.close()


def test_the_page_of_the_service_is_isolated_by_the_service_itself(served: Opened, address: str) -> None:
    assert served.page.evaluate("crossOriginIsolated")
    threads = served.page.evaluate("document.getElementById('threads').textContent")
    assert (threads == "one thread") == (served.page.evaluate("navigator.hardwareConcurrency") == 1)
    headers = served.page.request.get(address).headers
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["cross-origin-embedder-policy"] == "require-corp"
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe-inline" not in policy
    assert "'unsafe-eval'" not in policy


def test_a_click_cuts_out_the_cup_and_only_the_service_was_asked(
    served: Opened, address: str, asked: list[tuple[str, str]], embedded: Any, coffee: Any
) -> None:
    served.example("coffee")
    served.click(*CUP)
    assert served.objects == ["object 1"]
    best = embedded.embed(coffee).predict(points=[CUP]).best
    assert iou(served.mask(), best.array) > 0.99
    served.page.focus("#canvas")
    served.page.keyboard.press("Control+z")
    assert served.objects == []
    assert all(method == "GET" and url.startswith((address, "blob:", "data:")) for method, url in asked), asked
    assert [one for one in served.complaints if one != BLOCKED] == [], "also those of the content policy"


def test_with_its_service_worker_the_page_loads_again_without_the_service(browser: Any, address: str) -> None:
    opened = open_page(browser, address)
    opened.page.reload()  # on a busy machine the service worker may come after the first load of the model
    opened.page.wait_for_selector("body[data-model=loaded]")
    opened.until(
        "caches.open('mobilesam-page-1').then((c) => c.keys())"
        ".then((k) => ['encoder', 'decoder', 'threaded.wasm'].every((n) => k.some(({ url }) => url.includes(n))))"
    )
    opened.context.set_offline(True)
    opened.page.reload()
    opened.page.wait_for_selector("body[data-model=loaded]")
    opened.example("coffee")
    opened.click(*CUP)
    assert opened.objects == ["object 1"]
    assert opened.complaints == []
    opened.close()


def test_the_policy_stops_what_the_page_does_not_do(served: Opened) -> None:
    """The policy works, and is not only sent: an inline script does not run."""
    served.page.evaluate(
        "() => { const one = document.createElement('script'); one.textContent = 'window.ran = 1';"
        " document.body.append(one); }"
    )
    assert served.page.evaluate("window.ran === undefined")
    assert any("Content Security Policy" in complaint for complaint in served.complaints)
