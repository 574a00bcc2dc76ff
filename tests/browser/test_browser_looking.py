"""How a part's images are looked at in a real Chromium: which frame, how large, what if one does not come."""

import re
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

pytestmark = pytest.mark.browser


def test_a_part_opens_on_the_frame_that_decided_and_f_leads_on(
    kiosk: Any, announced: str, station: Any
) -> None:
    page = kiosk.page
    station.add(station.frame(defect=False, camera_id="left"), station.frame(camera_id="right"))
    kiosk.set_up(announced)
    page.keyboard.press("Enter")
    kiosk.wait_for_part(5)
    expect(page.locator(".frames a[aria-current]")).to_have_text("right 40")
    page.keyboard.press("f")
    expect(page.locator(".frames a[aria-current]")).to_have_text("left 10")
    kiosk.wait_for_part(5)
    page.keyboard.press("f")
    expect(page.locator(".frames a[aria-current]")).to_have_text("right 40")


def _screen_pixels_per_pixel(page: Page) -> float:
    """Return the size of an image's pixel on the screen, seen from outside: the layers' box scaled by CSS."""
    return float(
        page.locator("#image").evaluate(
            """image => {
                const box = image.getBoundingClientRect();
                const fit = Math.min(box.width / image.naturalWidth, box.height / image.naturalHeight);
                return fit * window.devicePixelRatio;
            }"""
        )
    )


def _is_on_pixels(page: Page) -> bool:
    """Return whether the image begins on a whole pixel of the screen."""
    return bool(
        page.locator("#image").evaluate(
            """image => {
                const box = image.getBoundingClientRect();
                const fit = Math.min(box.width / image.naturalWidth, box.height / image.naturalHeight);
                const begins = [
                    box.left + (box.width - image.naturalWidth * fit) / 2,
                    box.top + (box.height - image.naturalHeight * fit) / 2,
                ].map(begin => begin * window.devicePixelRatio);
                return begins.every(begin => Math.abs(begin - Math.round(begin)) < 0.02);
            }"""
        )
    )


@pytest.mark.parametrize("ratio", [1, 2])
def test_one_to_one_is_one_pixel_to_one(
    ratio: int, browser: Browser, announced: str, station: Any, new_kiosk: Any
) -> None:
    station.add(station.frame(shape=(2048, 2448)))
    context = browser.new_context(viewport={"width": 1366, "height": 768}, device_scale_factor=ratio)
    context.set_default_timeout(15_000)
    kiosk = new_kiosk(context.new_page())
    page = kiosk.page
    kiosk.set_up(announced)
    page.keyboard.press("Enter")
    kiosk.wait_for_part(5)
    layers, text = page.locator("#layers"), page.locator("#zoom-text")
    shrunk = re.compile(r"^layers\s*$")
    expect(text).to_have_text("fit")
    expect(layers).to_have_class(shrunk)
    page.keyboard.press("+")
    assert _screen_pixels_per_pixel(page) < 1
    expect(layers).to_have_class(shrunk)
    expect(text).to_have_text(f"{round(100 * _screen_pixels_per_pixel(page))} %")
    page.keyboard.press("1")
    expect(text).to_have_text("100 %")
    assert _screen_pixels_per_pixel(page) == pytest.approx(1, abs=1e-3)
    assert _is_on_pixels(page)
    expect(layers).to_have_class(shrunk)
    page.keyboard.press("+")
    expect(layers).to_have_class(re.compile("pixels"))
    context.close()
