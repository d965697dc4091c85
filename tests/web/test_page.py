"""What people do on the page: point, click, correct, name, search, save; with a mouse, a finger and keys."""

from __future__ import annotations

import functools
import http.server
import io
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mobilesam.web import write_page
from tests.web.conftest import Handler
from tests.web.driver import Opened, iou, open_page


def test_the_first_look_says_that_nothing_is_uploaded_and_the_page_is_isolated(loaded: Opened) -> None:
    assert "never leaves this device" in loaded.page.evaluate("document.getElementById('welcome').textContent")
    assert loaded.page.evaluate("crossOriginIsolated"), "the service worker gives threads on any host"


def test_hovering_shows_a_mask_and_leaving_takes_it_away(coffee_page: Opened) -> None:
    coffee_page.page.mouse.move(0, 0)
    plain = coffee_page.pixels()
    before = coffee_page.page.evaluate("performance.getEntriesByName('mobilesam:hover').length")
    coffee_page.hover(290, 120)
    coffee_page.until(f"performance.getEntriesByName('mobilesam:hover').length > {before}")
    coffee_page.page.wait_for_timeout(100)
    assert (coffee_page.pixels() != plain).any(axis=2).mean() > 0.05
    assert coffee_page.objects == []
    coffee_page.page.mouse.move(0, 0)
    coffee_page.page.wait_for_timeout(100)
    assert (coffee_page.pixels() != plain).any(axis=2).mean() < 0.01


def test_the_newest_place_of_the_pointer_wins(coffee_page: Opened) -> None:
    for x in range(60, 560, 20):
        coffee_page.hover(x, 200)
    coffee_page.page.wait_for_timeout(700)
    there = coffee_page.pixels()
    coffee_page.page.mouse.move(0, 0)
    coffee_page.hover(540, 200)
    coffee_page.page.wait_for_timeout(700)
    assert (np.abs(coffee_page.pixels().astype(int) - there) > 8).any(axis=2).mean() < 0.01


def test_undo_redo_clear_and_several_objects(coffee_page: Opened) -> None:
    page = coffee_page.page
    coffee_page.click(290, 120)
    one = coffee_page.mask()
    page.keyboard.press("n")
    coffee_page.box(325, 225, 415, 330)
    assert coffee_page.objects == ["object 1", "object 2"]
    page.keyboard.press("Control+z")
    assert coffee_page.objects == ["object 1"]
    assert np.array_equal(coffee_page.mask(), one)
    page.keyboard.press("Control+y")
    assert len(coffee_page.objects) == 2
    page.click("#clear")
    assert coffee_page.objects == []
    page.click("#undo")
    assert len(coffee_page.objects) == 2
    page.fill("#objects li:first-child input", "cup")
    page.fill("#objects li:last-child input", "spoon")
    page.press("#objects li:last-child input", "Tab")
    assert coffee_page.objects == ["cup", "spoon"]
    page.click("#objects li:last-child .icon")
    assert coffee_page.objects == ["cup"]
    assert b'"name":"cup"' in coffee_page.download("coco")


def test_a_right_click_without_an_object_says_what_to_do(coffee_page: Opened) -> None:
    coffee_page.click(290, 120, button="right")
    assert coffee_page.objects == []
    assert "First click the object" in coffee_page.page.inner_text("#status")


def test_zoomed_in_a_click_lands_where_the_pointer_is(coffee_page: Opened) -> None:
    page = coffee_page.page
    coffee_page.hover(290, 120)
    page.keyboard.down("Control")
    page.mouse.wheel(0, -300)
    page.keyboard.up("Control")
    page.mouse.click(*coffee_page.at(290, 120))  # it zooms around the pointer, so the place stays
    coffee_page.settled()
    near = coffee_page.mask()
    page.keyboard.press("0")
    page.click("#clear")
    coffee_page.click(290, 120)
    assert iou(near, coffee_page.mask()) > 0.99


def test_the_keyboard_alone_is_enough(coffee_page: Opened) -> None:
    page = coffee_page.page
    page.mouse.move(0, 0)
    page.focus("#canvas")
    for _ in range(3):
        page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    coffee_page.settled()
    assert coffee_page.objects == ["object 1"]
    first = coffee_page.mask()
    page.keyboard.press("Shift+ArrowLeft")
    page.keyboard.press("Shift+Enter")
    coffee_page.settled()
    assert not np.array_equal(coffee_page.mask(), first)
    page.keyboard.press("Control+z")
    assert np.array_equal(coffee_page.mask(), first)
    with page.expect_download():
        page.keyboard.press("Control+s")
    page.keyboard.press("?")
    assert page.locator("#help").is_visible()
    page.keyboard.press("Escape")
    assert not page.locator("#help").is_visible()
    assert coffee_page.objects == ["object 1"]
    page.keyboard.press("Delete")
    assert coffee_page.objects == []


def test_the_tools_are_one_row_on_screens_of_laptops_and_the_help_is_about_the_mouse(coffee_page: Opened) -> None:
    page = coffee_page.page
    for width in (1024, 1200, 1280, 1366, 1440):
        page.set_viewport_size({"width": width, "height": 800})
        tops = page.evaluate(
            """[...document.getElementById("toolbar").children].filter((one) => one.offsetWidth)
                .map((one) => one.offsetTop)"""
        )
        assert max(tops) - min(tops) < 20, width
    page.set_viewport_size({"width": 1200, "height": 800})
    page.keyboard.press("?")
    rows = page.inner_text("#help dl")
    assert "Wheel" in rows
    assert "Long press" not in rows
    page.keyboard.press("Escape")


def test_every_control_has_a_name(coffee_page: Opened) -> None:
    coffee_page.click(290, 120)
    nameless = coffee_page.page.evaluate(
        """[...document.querySelectorAll("button, input, select, canvas, progress")].filter((one) => {
            const labels = [...(one.labels || [])].map((label) => label.textContent).join("");
            const by = document.getElementById(one.getAttribute("aria-labelledby") || "")?.textContent;
            return !(one.getAttribute("aria-label") || by || labels || one.textContent).trim();
        }).map((one) => one.outerHTML)"""
    )
    assert nameless == []


def test_everything_fills_in_masks_and_one_is_picked_by_hovering(coffee_page: Opened) -> None:
    page = coffee_page.page
    page.select_option("#grid", "12")
    page.focus("#canvas")
    page.keyboard.press("e")
    coffee_page.until("parseInt(document.getElementById('search-text').textContent) > 0")
    page.wait_for_selector("#search", state="hidden")
    coffee_page.hover(290, 120)
    coffee_page.click(290, 120)
    assert coffee_page.objects == ["object 1"]
    assert 0.01 < coffee_page.mask().mean() < 0.9
    page.keyboard.press("n")


def test_a_search_can_be_stopped(coffee_page: Opened) -> None:
    page = coffee_page.page
    page.select_option("#grid", "32")
    page.click("#everything")
    page.wait_for_selector("#search", state="visible")
    page.click("#search-stop")
    page.wait_for_selector("#search", state="hidden")
    page.click("#clear", force=True)
    coffee_page.click(290, 120)
    assert coffee_page.objects == ["object 1"]


def test_a_file_that_is_no_photo_is_explained_and_nothing_is_lost(coffee_page: Opened, tmp_path: Path) -> None:
    coffee_page.click(290, 120)
    before = coffee_page.mask()
    (tmp_path / "notes.txt").write_text("no photo")
    coffee_page.page.set_input_files("#file", tmp_path / "notes.txt")
    coffee_page.page.wait_for_selector("#trouble", state="visible")
    assert "not a photo" in coffee_page.page.inner_text("#trouble-text")
    coffee_page.page.click("#dismiss")
    assert coffee_page.objects == ["object 1"]
    assert np.array_equal(coffee_page.mask(), before)


def test_a_heic_photo_that_the_browser_cannot_read_is_explained(coffee_page: Opened) -> None:
    heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64)
    coffee_page.page.set_input_files("#file", {"name": "a.heic", "mimeType": "image/heic", "buffer": heic})
    coffee_page.page.wait_for_selector("#trouble", state="visible")
    assert "HEIC" in coffee_page.page.inner_text("#trouble-text")
    coffee_page.page.click("#dismiss")


def test_a_photo_of_24_megapixels_has_results_at_its_own_size(loaded: Opened, coffee: Path) -> None:
    with Image.open(coffee) as photo:
        large = photo.convert("RGB").resize((6000, 4000), Image.Resampling.BICUBIC)
    data = io.BytesIO()
    large.save(data, "JPEG", quality=80)
    loaded.page.set_input_files("#file", {"name": "large.jpg", "mimeType": "image/jpeg", "buffer": data.getvalue()})
    loaded.until("document.getElementById('file-name').textContent.startsWith('large')")
    loaded.ready()
    loaded.click(290 * 10, 120 * 10)
    large_mask = loaded.mask()
    assert large_mask.shape == (4000, 6000)
    loaded.example("coffee")
    loaded.click(290, 120)
    assert iou(large_mask[5::10, 5::10], loaded.mask()) > 0.9


def test_a_phone_has_no_sideways_scrolling_and_works_by_touch(browser: Any, site: str) -> None:
    phone = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True, "device_scale_factor": 2}
    opened = open_page(browser, site, **phone)
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= 360
    opened.page.tap("[data-example*=coffee]")
    opened.ready()
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= 360
    opened.page.touchscreen.tap(*opened.at(290, 120))
    opened.page.wait_for_selector("#objects li", state="attached")
    opened.settled()
    first = opened.mask()
    x, y = opened.at(140, 200)
    session = opened.context.new_cdp_session(opened.page)  # a long press: not this part
    session.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]})
    opened.until("performance.getEntriesByName('mobilesam:mask').length == 2")
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    opened.settled()
    assert not np.array_equal(opened.mask(), first)
    opened.page.tap("#handle")
    assert opened.page.locator("#objects li").is_visible()
    small = opened.page.evaluate(
        """[...document.querySelectorAll("button, select, .check, .row, #objects input")].filter((one) => {
            const { width, height } = one.getBoundingClientRect();
            return width && (width < 43.9 || height < (one.matches(".row") ? 34 : 43.9));
        }).map((one) => one.outerHTML)"""
    )
    assert small == []
    assert opened.complaints == []
    opened.close()


def test_it_works_offline_once_loaded_and_asks_no_other_host(
    browser: Any, host: http.server.ThreadingHTTPServer
) -> None:
    address = f"http://127.0.0.1:{host.server_port}/"
    opened = open_page(browser, address)
    asked: list[tuple[str, str]] = []
    opened.context.on("request", lambda request: asked.append((request.method, request.url)))
    opened.until("caches.open('mobilesam-page-2').then((c) => c.keys()).then((k) => k.length > 30)")
    host.shutdown()
    host.server_close()
    opened.complaints.clear()
    opened.page.reload()
    opened.page.wait_for_selector("body[data-model=loaded]")
    opened.page.click("[data-example*=coffee]")
    opened.ready()
    opened.click(290, 120)
    assert opened.objects == ["object 1"]
    assert opened.mask().any()
    assert all(method == "GET" and url.startswith((address, "blob:")) for method, url in asked), asked
    opened.close()


def test_a_service_worker_that_comes_late_keeps_the_model_too(
    browser: Any, host: http.server.ThreadingHTTPServer, page_folder: Path
) -> None:
    class Late(Handler):
        def do_GET(self) -> None:
            if self.path.startswith("/sw.js"):
                time.sleep(6)  # longer than the page waits for it
            super().do_GET()

    host.RequestHandlerClass = functools.partial(Late, directory=str(page_folder))
    opened = open_page(browser, f"http://127.0.0.1:{host.server_port}/")
    assert opened.page.evaluate("navigator.serviceWorker.controller === null"), "the model was there first"
    kept = "caches.open('mobilesam-page-2').then((c) => c.keys()).then((k) => k.map(({ url }) => url).join())"
    files = ("encoder.onnx", "decoder.onnx", "model.json", "threaded.wasm.gz")
    opened.until(f"{kept}.then((all) => {list(files)}.every((name) => all.includes(name)))")
    host.shutdown()
    host.server_close()
    opened.page.reload()
    opened.page.wait_for_selector("body[data-model=loaded]")
    opened.close()


def test_a_model_that_cannot_be_loaded_is_explained_and_tried_again(
    browser: Any, host: http.server.ThreadingHTTPServer, page_folder: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "page"
    write_page(broken)
    (broken / "model" / "decoder.onnx").unlink()
    host.RequestHandlerClass = functools.partial(host.RequestHandlerClass.func, directory=str(broken))  # type: ignore
    context = browser.new_context()
    opened = Opened(context, context.new_page())
    opened.page.goto(f"http://127.0.0.1:{host.server_port}/")
    opened.page.wait_for_selector("body[data-started]")
    opened.page.click("[data-example*=coffee]")
    opened.page.wait_for_selector("#trouble", state="visible")
    assert "could not be downloaded" in opened.page.inner_text("#trouble-text")
    write_page(broken)
    opened.page.click("#retry")
    opened.ready()
    opened.click(290, 120)
    assert opened.objects == ["object 1"]
    opened.close()


def test_the_cut_out_can_be_copied(coffee_page: Opened) -> None:
    coffee_page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    coffee_page.click(290, 120)
    coffee_page.page.click("#copy")
    coffee_page.until("document.getElementById('status').textContent.startsWith('Copied')")
    found = coffee_page.page.evaluate("navigator.clipboard.read().then((items) => items.map((one) => one.types))")
    assert found == [["image/png"]]


def test_a_photo_can_be_dropped_and_pasted(loaded: Opened) -> None:
    code = """async ([name, kind]) => {
        document.body.dataset.ready = "";
        const blob = await (await fetch("examples/chelsea.png")).blob();
        const data = new DataTransfer();
        data.items.add(new File([blob], name, { type: "image/png" }));
        const event = kind === "drop" ? new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true })
            : new ClipboardEvent("paste", { clipboardData: data, bubbles: true });
        document.body.dispatchEvent(event);
    }"""
    for kind in ("drop", "paste"):
        loaded.page.evaluate(code, [f"{kind}.png", kind])
        loaded.until(f"document.getElementById('file-name').textContent.startsWith('{kind}.png')")
        loaded.ready()
    loaded.example("coffee")


def test_light_and_dark_are_switched_and_remembered(loaded: Opened) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    light = loaded.page.evaluate(ground)
    loaded.page.click("#theme")
    assert loaded.page.evaluate(ground) != light
    assert loaded.page.evaluate("localStorage.getItem('theme')") == "dark"
    loaded.page.click("#theme")
    assert loaded.page.evaluate(ground) == light


SEEN_CONTRAST = """() => {
    const parts = (text) => text.match(/[\\d.]+/g).map(Number);
    const over = (top, ground) => top.slice(0, 3).map((v, i) => v * (top[3] ?? 1) + ground[i] * (1 - (top[3] ?? 1)));
    const linear = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    const light = (colour) => {
        const [x, y, z] = colour.map((v) => linear(v / 255));
        return 0.2126 * x + 0.7152 * y + 0.0722 * z;
    };
    const groundOf = (one) => {
        const layers = [];
        for (let at = one; at; at = at.parentElement) layers.push(parts(getComputedStyle(at).backgroundColor));
        return layers.reverse().reduce((ground, layer) => over(layer, ground), [255, 255, 255]);
    };
    const low = [];
    for (const one of document.querySelectorAll("body *")) {
        const text = [...one.childNodes].filter((node) => node.nodeType === 3).map((node) => node.data.trim()).join("");
        const style = getComputedStyle(one);
        if (!(text || one.matches("input:not([type])")) || !one.checkVisibility({ visibilityProperty: true })) continue;
        if (one.closest(":disabled, .status, option") || !/^rgb/.test(style.color)) continue;
        const ground = groundOf(one);
        const colour = over([...parts(style.color).slice(0, 3), Number(style.opacity)], ground);
        const both = [light(colour), light(ground)].sort((a, b) => b - a);
        const ratio = (both[0] + 0.05) / (both[1] + 0.05);
        const isLarge = parseFloat(style.fontSize) >= 24;
        if (ratio < (isLarge ? 3 : 4.5)) low.push([text, ratio]);
    }
    return low;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_that_is_seen_has_contrast(browser: Any, site: str, scheme: str) -> None:
    opened = open_page(browser, site, color_scheme=scheme)
    assert opened.page.evaluate(SEEN_CONTRAST) == [], "first look"
    opened.example("coffee")
    opened.click(290, 120)
    assert opened.page.evaluate(SEEN_CONTRAST) == [], "an object"
    opened.page.keyboard.press("?")
    assert opened.page.evaluate(SEEN_CONTRAST) == [], "help"
    opened.page.keyboard.press("Escape")
    opened.page.set_input_files("#file", {"name": "a.txt", "mimeType": "text/plain", "buffer": b"no photo"})
    opened.page.wait_for_selector("#trouble", state="visible")
    assert opened.page.evaluate(SEEN_CONTRAST) == [], "an error"
    opened.close()


def test_text_has_contrast_in_both_themes(loaded: Opened) -> None:
    code = """() => {
        const light = (text) => {
            const [r, g, b] = text.match(/[\\d.]+/g).slice(0, 3).map((v) => v / 255)
                .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
        };
        const probe = document.createElement("p");
        document.body.append(probe);
        const pairs = [["ink", "card"], ["ink", "ground"], ["ink", "stage"], ["ink", "wash"], ["soft", "card"],
            ["soft", "ground"], ["soft", "wash"], ["accent", "card"], ["accent", "wash"], ["on-accent", "accent"]];
        const low = pairs.map(([text, ground]) => {
            probe.style.color = `var(--${text})`;
            probe.style.backgroundColor = `var(--${ground})`;
            const style = getComputedStyle(probe);
            const both = [light(style.color), light(style.backgroundColor)].sort((a, b) => b - a);
            return [text, ground, (both[0] + 0.05) / (both[1] + 0.05)];
        }).filter(([, , ratio]) => ratio < 4.5);
        probe.remove();
        return low;
    }"""
    for _ in range(2):
        assert loaded.page.evaluate(code) == []
        loaded.page.click("#theme")
