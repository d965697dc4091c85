"""The notebook's widget in Chromium, with this process as its kernel."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

import mobilesam

pytest.importorskip("anywidget", reason="the extra notebook is not installed")

from mobilesam.widget import Clicker

HARNESS = """<!doctype html><title>widget</title><div id="cell" style="width:700px"></div>
<script type="module">
  const values = {}, listeners = {};
  const view = (text) => new DataView(Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0)).buffer);
  for (const [name, value] of Object.entries(await python("start"))) values[name] = value;
  values._photo = view(values._photo);
  const model = {
    get: (name) => values[name],
    set: (name, value) => { values[name] = value; },
    save_changes: () => python("objects", values.objects),
    on: (name, call) => (listeners[name] ||= []).push(call),
    off: (name, call) => { listeners[name] = listeners[name].filter((one) => one !== call); },
    send: async (message) => {
      const { content, buffers } = await python("message", message);
      for (const call of listeners["msg:custom"]) call(content, buffers.map(view));
    },
  };
  window.told = (name, value) => { values[name] = value; listeners["change:" + name]?.forEach((call) => call()); };
  const esm = URL.createObjectURL(new Blob([await python("esm")], { type: "text/javascript" }));
  const { default: widget } = await import(esm);
  window.cleanup = await widget.render({ model, el: document.getElementById("cell") });
</script>"""


class Notebook:
    """A page that shows the widget as a notebook does, with this process as its kernel."""

    def __init__(self, page: Any, clicker: Clicker, address: str) -> None:
        self.page, self.clicker, self.complaints = page, clicker, []
        page.set_default_timeout(30_000)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.expose_function("python", self.kernel)
        page.route(address, lambda route: route.fulfill(body=HARNESS, content_type="text/html"))
        page.goto(address)
        page.wait_for_selector("#cell[data-ready=yes]")

    def kernel(self, kind: str, value: Any = None) -> Any:
        """What the fake model asks of Python."""
        if kind == "start":
            photo = base64.b64encode(self.clicker._photo).decode()
            return {"_facts": self.clicker._facts, "objects": [], "_photo": photo}
        if kind == "esm":
            return Clicker._esm
        if kind == "objects":
            self.clicker.objects = value
            return None
        sent: list[Any] = []
        self.clicker.send = lambda content, buffers=(): sent.append((content, buffers))
        self.clicker._handle_custom_msg(value, [])
        content, buffers = sent.pop()
        return {"content": content, "buffers": [base64.b64encode(one).decode() for one in buffers]}

    def at(self, x: float, y: float) -> tuple[float, float]:
        frame = self.page.locator("canvas").bounding_box()
        margin = min(24, frame["width"] * 0.03)
        scale = min((frame["width"] - 2 * margin) / 600, (frame["height"] - 2 * margin) / 400)
        left, top = (frame["width"] - 600 * scale) / 2, (frame["height"] - 400 * scale) / 2
        return frame["x"] + left + x * scale, frame["y"] + top + y * scale

    def click(self, x: float, y: float, button: str = "left") -> None:
        before = self.clicker.objects
        self.page.mouse.click(*self.at(x, y), button=button)
        for _ in range(300):
            self.page.wait_for_timeout(20)
            if self.clicker.objects != before and not self.page.locator("#cell[data-busy=yes]").count():
                return
        raise TimeoutError("no answer to a click")


@pytest.fixture
def notebook(browser: Any, embedded: mobilesam.Predictor, coffee: Path) -> Iterator[Notebook]:
    context = browser.new_context(viewport={"width": 900, "height": 700})
    clicker = Clicker(coffee, embedded)
    opened = Notebook(context.new_page(), clicker, "http://localhost:9/widget.html")
    yield opened
    context.close()
    clicker.close()
    assert opened.complaints == []


def test_clicks_in_a_browser_show_the_mask_that_python_then_has(
    notebook: Notebook, coffee_embedding: mobilesam.ImageEmbedding
) -> None:
    before = picture(notebook)
    notebook.click(290, 120)
    (prompt,) = notebook.clicker.objects
    x, y = prompt["points"][0]
    assert abs(x - 290) < 1.5
    assert abs(y - 120) < 1.5
    first = coffee_embedding.predict(points=[(x, y)])
    assert notebook.clicker.masks == [first.best]
    shown = np.abs(picture(notebook).astype(int) - before).max(axis=2) > 12
    mask = first.best.array.astype(np.uint8)
    # The outline that is drawn is some pixels wide, so pixels near it are not compared.
    edge = cv2.morphologyEx(mask, cv2.MORPH_GRADIENT, np.ones((11, 11), np.uint8)) > 0
    assert (shown == first.best.array)[~edge].mean() > 0.99
    notebook.click(140, 200, button="right")
    (prompt,) = notebook.clicker.objects
    assert prompt["labels"] == [1, 0]
    finer = coffee_embedding.predict(points=prompt["points"], labels=[1, 0], prior=first)
    assert notebook.clicker.masks == [finer.best]
    notebook.page.get_by_text("Next object").click()
    notebook.click(400, 100)
    assert len(notebook.clicker.masks) == 2
    notebook.page.get_by_text("Undo").click()
    assert len(notebook.clicker.masks) == 1
    notebook.page.evaluate("told('objects', [])")
    assert np.array_equal(picture(notebook), before)


def picture(notebook: Notebook) -> Any:
    """The photo as the widget shows it, without its margin: (400, 600, 3)."""
    notebook.page.mouse.move(0, 0)
    notebook.page.wait_for_timeout(100)  # the next frame is drawn
    address = notebook.page.evaluate("document.querySelector('canvas').toDataURL()")
    with Image.open(io.BytesIO(base64.b64decode(address.split(",")[1]))) as drawn:
        frame = notebook.page.locator("canvas").bounding_box()
        x0, y0 = notebook.at(0, 0)
        x1, y1 = notebook.at(600, 400)
        box = (x0 - frame["x"], y0 - frame["y"], x1 - frame["x"], y1 - frame["y"])
        return np.asarray(drawn.convert("RGB").resize((600, 400), Image.Resampling.BILINEAR, box=box))
