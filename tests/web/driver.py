"""What the tests of the page do to it, in words of the page."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE = 30_000  # milliseconds, for machines that are busy


def open_page(browser: Any, address: str, **options: Any) -> Opened:
    """Open the page in a new, empty profile, and wait for its model.

    Args:
        browser: Playwright's.
        address: of the page.
        options: of the profile, such as the viewport.
    """
    context = browser.new_context(**{"viewport": {"width": 1200, "height": 800}, "accept_downloads": True, **options})
    opened = Opened(context, context.new_page())
    opened.page.goto(address)
    opened.page.wait_for_selector("body[data-model=loaded]")
    return opened


class Opened:
    """The page in one browser profile."""

    def __init__(self, context: Any, page: Any) -> None:
        self.context, self.page = context, page
        self.complaints: list[str] = []
        page.set_default_timeout(PATIENCE)
        page.on("console", self.hear)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def hear(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def close(self) -> None:
        self.context.close()

    def example(self, name: str) -> None:
        """Open one of the example photos afresh, and wait until it is encoded at both sides."""
        self.page.evaluate("document.getElementById('clear').click()")  # or the page would ask about unsaved objects
        self.page.evaluate(
            f"document.body.dataset.ready = ''; document.querySelector('[data-example*={name}]').click()"
        )
        self.until(f"document.getElementById('file-name').textContent.startsWith('{name}')")
        self.ready()

    def start_anew(self) -> None:
        """Forget all objects of the open photo, and show all of it."""
        self.page.mouse.move(0, 0)
        self.page.focus("#canvas")
        self.page.keyboard.press("Escape")
        self.page.keyboard.press("0")
        self.page.evaluate("document.getElementById('clear').click()")

    def until(self, expression: str) -> None:
        """Wait until an expression is true; the page's content policy forbids Playwright's own way."""
        for _ in range(PATIENCE // 50):
            if self.page.evaluate(expression):
                return
            self.page.wait_for_timeout(50)
        raise TimeoutError(expression)

    def ready(self) -> None:
        self.page.wait_for_selector("body[data-ready=all]")

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Where a place of the photo lies on the screen, while the whole photo is shown."""
        frame = self.page.locator("#canvas").bounding_box()
        text = self.page.locator("#canvas").get_attribute("aria-label")
        words = text.split(" pixels")[0].split()
        width, height = float(words[-3]), float(words[-1])
        margin = min(24, frame["width"] * 0.03)
        scale = min((frame["width"] - 2 * margin) / width, (frame["height"] - 2 * margin) / height)
        left, top = (frame["width"] - width * scale) / 2, (frame["height"] - height * scale) / 2
        return frame["x"] + left + x * scale, frame["y"] + top + y * scale

    def hover(self, x: float, y: float) -> None:
        self.page.mouse.move(*self.at(x, y))

    def click(self, x: float, y: float, button: str = "left") -> None:
        self.page.mouse.click(*self.at(x, y), button=button)
        self.settled()

    def box(self, x0: float, y0: float, x1: float, y1: float) -> None:
        self.hover(x0, y0)
        self.page.mouse.down()
        self.page.mouse.move(*self.at((x0 + x1) / 2, (y0 + y1) / 2))
        self.page.mouse.move(*self.at(x1, y1))
        self.page.mouse.up()
        self.settled()

    def settled(self) -> None:
        """Wait until the answer is there, with its second look."""
        self.page.wait_for_selector("body:not([data-busy])")

    @property
    def objects(self) -> list[str]:
        """Names of the objects."""
        return [field.input_value() for field in self.page.locator("#objects input").all()]

    def download(self, form: str) -> bytes:
        """A file as the page saves it."""
        with self.page.expect_download() as waiting:
            self.page.evaluate(f"document.querySelector('[data-form={form}]').click()")
        path = waiting.value.path()
        with open(path, "rb") as file:
            return file.read()

    def mask(self) -> NDArray[np.bool_]:
        """All objects as the page's mask PNG shows them: (H, W)."""
        with Image.open(io.BytesIO(self.download("mask"))) as picture:
            assert picture.mode == "L"
            return np.asarray(picture) > 0

    def pixels(self) -> NDArray[np.uint8]:
        """The photo with what is drawn on it: (h, w, 3)."""
        address = self.page.evaluate("document.getElementById('canvas').toDataURL()")
        with Image.open(io.BytesIO(base64.b64decode(address.split(",")[1]))) as picture:
            return np.asarray(picture.convert("RGB"))


def iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """Intersection over union of two masks."""
    return float((a & b).sum() / max(1, (a | b).sum()))
