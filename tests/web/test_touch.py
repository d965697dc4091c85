"""Two fingers and the camera, on a phone's screen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.web.driver import Opened, iou, open_page

PHONE: dict[str, Any] = {
    "viewport": {"width": 360, "height": 740},
    "has_touch": True,
    "is_mobile": True,
    "device_scale_factor": 2,
}
CUP = (290, 120)
FINGER = 40  # pixels of the screen between a finger and the middle of the two, at the start


@pytest.fixture(scope="module")
def loaded_phone(browser: Any, site: str) -> Iterator[Opened]:
    """The page on a phone, with coffee.png open."""
    opened = open_page(browser, site, **PHONE)
    opened.page.tap("[data-example*=coffee]")
    opened.ready()
    yield opened
    assert opened.complaints == []
    opened.close()


@pytest.fixture
def phone(loaded_phone: Opened) -> Opened:
    """The same page with nothing cut out, all of the photo shown, and nothing measured."""
    page = loaded_phone.page
    page.set_viewport_size(PHONE["viewport"])
    page.evaluate("document.getElementById('clear').click(); document.getElementById('zoom-fit').click()")
    page.evaluate("performance.clearMarks()")
    return loaded_phone


class Fingers:
    """Two fingers, beside each other around a middle."""

    def __init__(self, opened: Opened) -> None:
        self.session = opened.context.new_cdp_session(opened.page)

    def send(self, kind: str, *places: tuple[float, float]) -> None:
        points = [{"x": x, "y": y, "id": i} for i, (x, y) in enumerate(places)]
        self.session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    def move(self, middle: tuple[float, float], apart: tuple[float, float], by: tuple[float, float]) -> None:
        """Put two fingers down, move them, and lift them.

        Args:
            middle: of the two fingers at the start.
            apart: from the middle to each finger, at the start and at the end.
            by: how far the middle moves.
        """
        steps = 10
        for i in range(steps + 1):
            share = i / steps
            x, y = middle[0] + by[0] * share, middle[1] + by[1] * share
            reach = apart[0] + (apart[1] - apart[0]) * share
            self.send("touchMove" if i else "touchStart", (x - reach, y), (x + reach, y))
        self.send("touchEnd")


def covered(opened: Opened) -> Any:
    """Which pixels of the canvas show the photo; around it the canvas is transparent, so black here."""
    opened.page.wait_for_timeout(150)
    return opened.pixels().any(axis=2)


def tap(opened: Opened, place: tuple[float, float]) -> Any:
    """The mask of a tap on a place of the screen."""
    opened.page.touchscreen.tap(*place)
    opened.page.wait_for_selector("#objects li", state="attached")
    opened.settled()
    return opened.mask()


def test_pinching_zooms_around_the_fingers_and_clicks_nothing(phone: Opened) -> None:
    cup, before = phone.at(*CUP), covered(phone).mean()
    Fingers(phone).move(cup, (FINGER, 2 * FINGER), (0, 0))
    assert covered(phone).mean() > 1.5 * before
    assert phone.objects == []
    assert phone.page.evaluate("visualViewport.scale") == 1, "the page itself is not zoomed"
    near = tap(phone, cup)
    phone.page.evaluate("document.getElementById('clear').click(); document.getElementById('zoom-fit').click()")
    assert iou(near, tap(phone, cup)) > 0.98, "the cup stayed between the fingers"


def test_pinching_together_shows_all_of_it_again(phone: Opened) -> None:
    cup, before = phone.at(*CUP), covered(phone)
    fingers = Fingers(phone)
    fingers.move(cup, (FINGER, 3 * FINGER), (0, 0))
    assert covered(phone).mean() > 1.5 * before.mean()
    fingers.move(cup, (3 * FINGER, 20), (0, 0))
    assert covered(phone).mean() < 1.1 * before.mean()


def test_two_fingers_move_the_photo(phone: Opened) -> None:
    cup = phone.at(*CUP)
    fingers = Fingers(phone)
    fingers.move(cup, (FINGER, 3 * FINGER), (0, 0))
    covered(phone)
    before = phone.pixels()
    fingers.move(cup, (FINGER, FINGER), (-30, 0))
    covered(phone)
    after = phone.pixels()
    shifted = np.abs(
        after[:, 100:400].astype(int) - before[:, 160:460]
    ).mean()  # 30 px of the screen are 60 of the canvas
    assert shifted < 3
    assert np.abs(after[:, 100:400].astype(int) - before[:, 100:400]).mean() > 2 * shifted + 3
    assert phone.objects == []


def test_a_finger_that_stays_while_another_comes_is_no_long_press(phone: Opened) -> None:
    tap(phone, phone.at(*CUP))
    x, y = phone.at(140, 200)
    fingers = Fingers(phone)
    fingers.send("touchStart", (x, y))
    fingers.send("touchStart", (x, y), (x + 80, y))
    phone.page.wait_for_timeout(700)
    fingers.send("touchEnd")
    phone.settled()
    assert phone.page.evaluate("performance.getEntriesByName('mobilesam:mask').length") == 1


def test_taking_a_photo_asks_for_the_camera_at_the_back(browser: Any, site: str) -> None:
    opened = open_page(browser, site, **PHONE)
    assert opened.page.get_attribute("#shot", "capture") == "environment"
    with opened.page.expect_file_chooser() as chooser:
        opened.page.tap("#camera")
    assert chooser.value.element.get_attribute("id") == "shot"
    opened.close()


OFF_SCREEN = """(where) => [...document.querySelectorAll(where)].filter((one) => {
    const { left, top, right, bottom, width } = one.getBoundingClientRect();
    return width && (left < 0 || top < 0 || right > innerWidth || bottom > innerHeight);
}).map((one) => one.outerHTML)"""


def test_a_phone_shows_photo_tools_and_errors_whole_however_it_is_held(phone: Opened) -> None:
    page = phone.page
    tap(phone, phone.at(*CUP))
    for width, height in ((320, 568), (360, 740), (390, 844), (844, 390), (667, 375)):
        page.set_viewport_size({"width": width, "height": height})
        assert page.evaluate(OFF_SCREEN, "#toolbar button, .bar button, #handle") == [], (width, height)
        seen = page.locator("#canvas").bounding_box()
        assert seen["height"] > 200
        page.tap("#handle")
        page.wait_for_timeout(100)
        if width > height:
            frame = page.locator("#canvas").bounding_box()
            assert frame["height"] > 190
            assert frame["width"] > 0.55 * width
        page.set_input_files("#file", {"name": "a.txt", "mimeType": "text/plain", "buffer": b"no photo"})
        page.wait_for_selector("#trouble", state="visible")
        assert page.evaluate(OFF_SCREEN, "#trouble, #trouble h2, #trouble p, #trouble button") == []
        page.tap("#dismiss")
        page.tap("#handle")


def test_a_phone_names_the_remedy_and_helps_with_what_fingers_do(phone: Opened) -> None:
    page = phone.page
    page.touchscreen.tap(*phone.at(440, 60))
    page.wait_for_selector("#objects li", state="attached")
    assert "Try 1, 2, 3" in page.inner_text("#status"), "the model is not sure about the table"
    phone.settled()
    page.tap("#help-open")
    rows = page.inner_text("#help dl")
    for absent in ("Wheel", "Ctrl", "Space", "Right click", "Arrow"):
        assert absent not in rows
    for present in ("Tap", "Long press", "1, 2, 3", "Next", "Everything", "Pinch"):
        assert present in rows
    page.tap("#help .icon")
