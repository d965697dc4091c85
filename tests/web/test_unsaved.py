"""Objects that no file has are not lost without a question."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.web.driver import Opened

CAT = Path(__file__).parents[2] / "examples" / "chelsea.png"
LEAVING = """(() => {
    const event = new Event("beforeunload", { cancelable: true });
    dispatchEvent(event);
    return event.defaultPrevented;
})()"""  # whether the browser would ask before the page goes


def test_leaving_the_page_is_asked_about_while_an_object_is_in_no_file(coffee_page: Opened) -> None:
    page = coffee_page.page
    assert not page.evaluate(LEAVING)
    coffee_page.click(290, 120)
    assert page.evaluate(LEAVING)
    coffee_page.download("cutout")
    assert not page.evaluate(LEAVING)
    page.fill("#objects input", "cup")
    page.press("#objects input", "Tab")
    assert page.evaluate(LEAVING), "no file has the new name"
    coffee_page.download("coco")
    page.keyboard.press("n")
    coffee_page.box(325, 225, 415, 330)
    page.check("#only-active")
    coffee_page.download("mask")
    assert not page.evaluate(LEAVING), "one object is in the first file, the other in the second"
    page.uncheck("#only-active")
    page.click("#clear")
    assert not page.evaluate(LEAVING)


def test_another_photo_is_asked_about_and_refusing_it_keeps_everything(coffee_page: Opened) -> None:
    page = coffee_page.page
    other = {"name": "other.png", "mimeType": "image/png", "buffer": CAT.read_bytes()}
    coffee_page.click(290, 120)
    before = coffee_page.mask()
    page.keyboard.press("n")
    coffee_page.box(325, 225, 415, 330)
    page.set_input_files("#file", other)
    page.wait_for_selector("#leave", state="visible")
    assert "1 object of coffee.png" in page.inner_text("#leave-text"), "the other one was saved"
    page.click("#leave [value=stay]")
    assert coffee_page.objects == ["object 1", "object 2"]
    page.click("#undo")
    assert np.array_equal(coffee_page.mask(), before), "files are still those of the old photo"
    page.click("#redo")
    page.set_input_files("#file", other)
    page.wait_for_selector("#leave", state="visible")
    page.set_input_files("#file", {**other, "name": "third.png"})  # dropped while the page still asks
    coffee_page.until("document.querySelector('#busy').hidden")
    page.click("#leave [value=leave]")
    coffee_page.until("document.getElementById('file-name').textContent.startsWith('third.png')")
    coffee_page.ready()
    assert coffee_page.objects == []
    coffee_page.click(230, 160)
    coffee_page.download("mask")
    page.set_input_files("#file", other)
    coffee_page.until("document.getElementById('file-name').textContent.startsWith('other.png')")
    assert not page.locator("#leave").is_visible(), "what is saved may go"
    coffee_page.ready()
