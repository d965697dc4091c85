"""Make the pictures of docs/images/page by using the page in Chromium.

python scripts/draw_page.py [NAME ...]    # such as steps; without names, all of them

It needs `playwright` and an installed Chromium. Clicks and boxes are fixed, whatever the model answers.
"""

from __future__ import annotations

import argparse
import functools
import http.server
import io
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from mobilesam.web import write_page  # noqa: E402
from tests.web.driver import FLAGS, Opened, open_page  # noqa: E402

FOLDER = ROOT / "docs" / "images" / "page"
SCREEN: dict[str, Any] = {"viewport": {"width": 1440, "height": 900}}
PHONE: dict[str, Any] = {
    "viewport": {"width": 360, "height": 740},
    "device_scale_factor": 1.5,
    "has_touch": True,
    "is_mobile": True,
    "color_scheme": "dark",
}
CUP, SPOON = (170, 15, 410, 310), (325, 225, 415, 330)  # boxes on coffee.png; the first is that of the README
INSIDE, SAUCER = (290, 120), (110, 250)
CAT, PHOTO = (230, 160), (451, 300)  # a click on chelsea.png, that of draw_examples.py, and the photo's size
PANEL = (440, 293)
GAP, CAPTION = 16, 46  # pixels between panels, and under them
POINTER = [(0, 0), (0, 24), (6, 18), (10, 27), (14, 25), (10, 17), (18, 17)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(PICTURES)}; all of them by default")
    names: list[str] = parser.parse_args().names
    if wrong := set(names) - set(PICTURES):
        raise SystemExit(f"no such picture: {', '.join(sorted(wrong))}; there are {', '.join(PICTURES)}")
    from playwright.sync_api import sync_playwright

    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as running:
        write_page(folder)
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser = running.chromium.launch(executable_path=chromium, args=FLAGS)
        for name in names or PICTURES:
            options, draw = PICTURES[name]
            opened = open_page(browser, f"http://127.0.0.1:{server.server_port}/", **options)
            picture = draw(opened)
            opened.close()
            picture.save(FOLDER / f"{name}.webp", quality=80, method=6)
            print(f"wrote {FOLDER / name}.webp")
        browser.close()
        server.shutdown()


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files without a word."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def shot(opened: Opened, **options: Any) -> Image.Image:
    """What the screen shows."""
    opened.page.evaluate("document.getElementById('status').style.visibility = 'hidden'")  # it goes after a while
    opened.page.wait_for_timeout(400)  # transitions
    return Image.open(io.BytesIO(opened.page.screenshot(**options))).convert("RGB")


def empty(opened: Opened) -> Image.Image:
    opened.page.wait_for_timeout(500)
    return shot(opened)


def loading(opened: Opened) -> Image.Image:
    """A second visit in a profile of its own, whose decoder never arrives."""
    context = opened.context.browser.new_context(service_workers="block", **SCREEN)
    slow = Opened(context, context.new_page())
    slow.page.route("**/decoder.onnx*", lambda route: None)  # neither answered nor refused
    slow.page.goto(opened.page.url)
    slow.page.wait_for_selector("body[data-started=yes]")
    slow.page.click("[data-example*=coffee]")
    slow.page.wait_for_timeout(4000)  # all the rest has come
    picture = shot(slow)
    slow.close()
    return picture


def hover(opened: Opened) -> Image.Image:
    opened.example("coffee")
    opened.hover(*SAUCER)
    opened.page.wait_for_timeout(600)
    return shot(opened)


def objects(opened: Opened) -> Image.Image:
    opened.example("coffee")
    opened.box(*CUP)
    opened.page.keyboard.press("n")
    opened.box(*SPOON)
    opened.page.fill("#objects li:first-child input", "cup")
    opened.page.fill("#objects li:last-child input", "spoon")
    opened.page.evaluate("document.activeElement.blur()")
    opened.page.mouse.move(0, 0)
    return shot(opened)


def error(opened: Opened) -> Image.Image:
    objects(opened)
    opened.page.set_input_files("#file", {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"no photo"})
    opened.page.wait_for_selector("#trouble", state="visible")
    return shot(opened)


def help_panel(opened: Opened) -> Image.Image:
    objects(opened)
    opened.page.keyboard.press("?")
    return shot(opened)


def offline(opened: Opened) -> Image.Image:
    """The page after its host and the network are gone: loaded again from what the browser keeps."""
    opened.page.wait_for_function("navigator.serviceWorker.controller !== null")
    opened.context.set_offline(True)
    opened.page.reload()
    opened.page.wait_for_selector("body[data-model=loaded]")
    opened.context.set_offline(False)  # Playwright tells only a loaded page
    opened.context.set_offline(True)
    opened.example("chelsea")
    opened.click(*CAT)
    return shot(opened)


def service(opened: Opened) -> Image.Image:
    """The same page from `mobilesam serve`, which may encode, and then says so."""
    command = [sys.executable, "-m", "mobilesam", "serve", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            address = next(filter(None, (re.search(r"http://\S+", line) for line in process.stdout)))[0]
            served = open_page(opened.context.browser, address, **SCREEN)
            served.page.wait_for_timeout(500)
            return shot(served)
        finally:
            process.terminate()


def everything(opened: Opened) -> Image.Image:
    opened.example("coffee")
    opened.page.select_option("#grid", "12")
    opened.page.click("#everything")
    opened.until("parseInt(document.getElementById('search-text').textContent) > 0")
    opened.page.wait_for_selector("#search", state="hidden")
    opened.hover(*INSIDE)
    opened.page.wait_for_timeout(600)
    return shot(opened)


def phone(opened: Opened) -> Image.Image:
    opened.page.tap("[data-example*=chelsea]")
    opened.ready()
    opened.page.touchscreen.tap(*opened.at(*CAT))
    opened.page.wait_for_selector("#objects li", state="attached")
    opened.settled()
    return shot(opened)


def steps(opened: Opened) -> Image.Image:
    """Three panels of one size: pointing, the click, and what is taken away."""
    opened.example("chelsea")
    opened.hover(*CAT)
    opened.page.wait_for_timeout(600)
    left, top = opened.at(0, 0)
    right, bottom = opened.at(*PHOTO)
    clip = {"x": left, "y": top, "width": right - left, "height": bottom - top}
    pointing = shot(opened, clip=clip).resize(PANEL, Image.Resampling.LANCZOS)
    opened.click(*CAT)
    clicked = shot(opened, clip=clip).resize(PANEL, Image.Resampling.LANCZOS)
    opened.page.uncheck("#cropped")
    with Image.open(io.BytesIO(opened.download("cutout"))) as file:
        taken = on_checks(file.convert("RGBA").resize(PANEL, Image.Resampling.LANCZOS))
    for panel in (pointing, clicked):  # a screenshot has no pointer
        draw_pointer(panel, CAT[0] * PANEL[0] / PHOTO[0], CAT[1] * PANEL[1] / PHOTO[1])
    captions = ("Point: what a click would take", "Click: it stays, and can be corrected", "Cut-out: a transparent PNG")
    return row([pointing, clicked, taken], captions)


def on_checks(picture: Image.Image) -> Image.Image:
    """A transparent picture before the pattern of squares that means transparency."""
    ground = Image.new("RGBA", picture.size, "#ffffff")
    draw = ImageDraw.Draw(ground)
    for x in range(0, picture.width, 12):
        for y in range(0, picture.height, 12):
            if (x + y) // 12 % 2:
                draw.rectangle((x, y, x + 11, y + 11), fill="#e3e6e3")
    return Image.alpha_composite(ground, picture).convert("RGB")


def draw_pointer(picture: Image.Image, x: float, y: float) -> None:
    ImageDraw.Draw(picture).polygon(
        [(x + dx, y + dy) for dx, dy in POINTER], fill="#111111", outline="#ffffff", width=2
    )


def row(panels: list[Image.Image], captions: tuple[str, ...]) -> Image.Image:
    width = len(panels) * PANEL[0] + (len(panels) - 1) * GAP
    picture = Image.new("RGB", (width, PANEL[1] + CAPTION), "#ffffff")
    draw = ImageDraw.Draw(picture)
    for i, (panel, caption) in enumerate(zip(panels, captions, strict=True)):
        left = i * (PANEL[0] + GAP)
        picture.paste(panel, (left, 0))
        middle = (left + PANEL[0] / 2, PANEL[1] + CAPTION / 2)
        draw.text(middle, caption, fill="#22302a", font=ImageFont.load_default(20), anchor="mm")
    return picture


PICTURES: dict[str, tuple[dict[str, Any], Callable[[Opened], Image.Image]]] = {
    "steps": (SCREEN, steps),
    "empty": (SCREEN, empty),
    "loading": (SCREEN, loading),
    "hover": (SCREEN, hover),
    "objects": (SCREEN, objects),
    "error": (SCREEN, error),
    "help": (SCREEN, help_panel),
    "offline": (SCREEN, offline),
    "service": (SCREEN, service),
    "everything": ({**SCREEN, "color_scheme": "dark"}, everything),
    "phone": (PHONE, phone),
}


if __name__ == "__main__":
    main()
