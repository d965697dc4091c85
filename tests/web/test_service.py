"""The page as `mobilesam serve` shows it: a process of its own, with its real headers, in a real browser."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.helpers.documents import ROOT, blocks
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
    assert all(url.startswith((address, "blob:", "data:")) for _, url in asked), asked
    assert {url.partition("?")[0] for method, url in asked if method != "GET"} <= {f"{address}/v1/encode"}
    assert [one for one in served.complaints if one != BLOCKED] == [], "also those of the content policy"


def test_with_its_service_worker_the_page_loads_again_without_the_service(browser: Any, address: str) -> None:
    opened = open_page(browser, address)
    opened.page.reload()  # on a busy machine the service worker may come after the first load of the model
    opened.page.wait_for_selector("body[data-model=loaded]")
    opened.until(
        "caches.open('mobilesam-page-2').then((c) => c.keys())"
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


SMALL = (325, 225, 415, 330)  # a box on coffee.png that gets a second look


def encode_by(served: Opened, place: str) -> None:
    """Choose where photos are encoded, and open the photo afresh."""
    served.page.evaluate(
        """(place) => {
            const one = document.querySelector(".panel [data-place]");
            one.value = place;
            one.dispatchEvent(new Event("change"));
        }""",
        place,
    )
    served.example("coffee")


def masks_of(served: Opened) -> list[Any]:
    """Masks of a click and of a small box."""
    served.click(*CUP)
    clicked = served.mask()
    served.start_anew()
    served.box(*SMALL)
    boxed = served.mask()
    served.start_anew()
    return [clicked, boxed]


def test_encoded_here_or_by_the_service_the_masks_are_the_same_and_the_page_says_where_the_photo_went(
    served: Opened, asked: list[tuple[str, str]]
) -> None:
    host = served.page.evaluate("location.host")
    encode_by(served, "here")
    del asked[:]
    here = masks_of(served)
    assert served.page.inner_text("#privacy") == "Nothing is uploaded"
    assert not [url for method, url in asked if method != "GET"]
    encode_by(served, "service")
    there = masks_of(served)
    assert served.page.inner_text("#privacy") == f"Sent to {host}"
    sent = [url for method, url in asked if method == "POST"]
    assert len(sent) == 3, "both sides, and the second look"
    assert "square=true" in sent[-1]
    assert all(iou(a, b) >= 0.99 for a, b in zip(here, there, strict=True))
    encode_by(served, "here")
    assert served.page.inner_text("#privacy") == "Nothing is uploaded", "that was another photo"


def test_by_itself_the_page_tries_both_roads_and_says_so_before_a_photo_is_opened(browser: Any, address: str) -> None:
    opened = open_page(browser, address, service_workers="block")
    assert "may go to" in opened.page.inner_text("#welcome-privacy")
    assert opened.page.locator("#welcome [data-place]").is_visible()
    posts: list[str] = []
    opened.context.on("request", lambda request: request.method == "POST" and posts.append(request.url))
    opened.example("coffee")
    opened.example("chelsea")
    opened.click(*CUP)
    assert len(posts) >= 2, "of the first four encodings each road had two"
    opened.close()


@pytest.mark.parametrize("trouble", ["busy", "gone"])
def test_where_the_service_does_not_encode_the_page_does(
    served: Opened, trouble: str, embedded: Any, coffee: Any
) -> None:
    refused: list[str] = []

    def refuse(route: Any) -> None:
        refused.append(route.request.url)
        route.fulfill(status=503, body="") if trouble == "busy" else route.abort()

    served.context.route("**/v1/encode*", refuse)
    encode_by(served, "service")
    served.click(*CUP)
    assert len(refused) == 1, "after a failure it is left alone for a while"
    assert iou(served.mask(), embedded.embed(coffee).predict(points=[CUP]).best.array) >= 0.99
    served.context.unroute("**/v1/encode*")
    served.page.reload()  # forgets the failure
    served.page.wait_for_selector("body[data-model=loaded]")


def test_the_documents_javascript_gets_a_mask_of_the_photo(served: Opened) -> None:
    page = (ROOT / "docs" / "service.md").read_text(encoding="utf-8")
    (script,) = (block.text for block in blocks(page) if block.language == "js")
    opened = "const file = await (await fetch('examples/coffee.png')).blob();"
    size = served.page.evaluate(f"(async () => {{ {opened}\n{script}\nreturn [mask.width, mask.height]; }})()")
    assert size == [600, 400]
