"""How a part's images are looked at in a real Chromium: which frame, how large, what if one does not come."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from sqlmodel import func, select

from partgate.records import Review
from partgate_station import Verdict

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


def _reviews(station: Any) -> int:
    with station.database.read() as session:
        return int(session.exec(select(func.count()).select_from(Review)).one())


@pytest.mark.parametrize(
    ("pattern", "status", "said"),
    [
        pytest.param("**/image.png", 503, "The image could not be loaded. Reload", id="image, busy"),
        pytest.param("**/image.png", 404, "The image cannot be shown: its file is damaged", id="damaged"),
        pytest.param("**/map.png", 503, "The anomaly map could not be loaded", id="map, busy"),
    ],
)
def test_a_picture_that_does_not_come_leaves_deciding_to_the_mouse(
    pattern: str, status: int, said: str, kiosk: Any, announced: str, station: Any
) -> None:
    page = kiosk.page
    kiosk.set_up(announced)
    asked: list[str] = []

    def refuse(route: Any) -> None:
        asked.append(route.request.url)
        route.fulfill(status=status, body="")

    page.route(pattern, refuse)
    page.keyboard.press("Enter")
    kiosk.wait_for_part(4)
    expect(page.locator("#not-seen")).to_contain_text(said)
    expect(page.locator(".decision kbd")).to_have_count(0)
    assert asked.count(asked[0]) == 2, "asked for once more"
    page.keyboard.press("d")
    page.keyboard.press("g")
    page.wait_for_timeout(500)
    assert _reviews(station) == 0
    page.get_by_role("button", name=re.compile("^Good")).click()
    kiosk.wait_for_part(3)
    assert _reviews(station) == 1
    kiosk.complaints.clear()


def test_a_picture_that_comes_the_second_time_is_as_good_as_any(
    kiosk: Any, announced: str, station: Any
) -> None:
    page = kiosk.page
    kiosk.set_up(announced)
    page.route("**/image.png", lambda route: route.fulfill(status=503, body=""), times=1)
    page.keyboard.press("Enter")
    kiosk.wait_for_part(4)
    expect(page.locator("#not-seen")).to_be_hidden()
    page.keyboard.press("g")
    kiosk.wait_for_part(3)
    assert _reviews(station) == 1
    kiosk.complaints.clear()


def test_a_key_pressed_twice_does_not_decide_a_part_without_an_image(
    kiosk: Any, announced: str, station: Any
) -> None:
    page = kiosk.page
    page.clock.install()
    station.add(verdict=Verdict.REVIEW)
    station.add(verdict=Verdict.REVIEW)
    kiosk.set_up(announced)
    page.keyboard.press("Enter")
    kiosk.wait_for_part(6)
    page.clock.pause_at(datetime.now(UTC) + timedelta(minutes=1))
    page.keyboard.press("g")
    expect(page.locator("h1")).to_have_text("Trigger 5")
    page.wait_for_load_state()
    page.clock.run_for(400)
    page.keyboard.press("g")
    expect(page.locator("h1")).to_have_text("Trigger 5")
    assert _reviews(station) == 1
    page.clock.run_for(200)
    kiosk.wait_for_part(5)
    page.keyboard.press("g")
    expect(page.locator("h1")).to_have_text("Trigger 4")
    page.clock.resume()
    kiosk.wait_for_part(4)
    assert _reviews(station) == 2
