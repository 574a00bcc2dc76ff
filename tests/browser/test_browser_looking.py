"""How a part's images are looked at in a real Chromium: which frame, how large, what if one does not come."""

from typing import Any

import pytest
from playwright.sync_api import expect

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
