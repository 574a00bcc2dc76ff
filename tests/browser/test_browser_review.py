"""The review site in a real Chromium: set-up, login, a part, a decision, and its rows."""

import re
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from sqlmodel import col, select

from partgate.records import Audit, Database, Finding, Review, User, verify_audit
from partgate_station import Verdict

pytestmark = pytest.mark.browser

NOTE = "<b onclick=alert(1)>dig & scratch</b>"


def _opacity(page: Page) -> float:
    return float(page.locator("#overlay").evaluate("image => getComputedStyle(image).opacity"))


def _width(page: Page, selector: str) -> int:
    return int(page.locator(selector).evaluate("image => image.naturalWidth"))


def _reviews(database: Database) -> list[tuple[int, Finding, str]]:
    query = select(Review, User).join(User, col(User.id) == col(Review.reviewer_id))
    with database.read() as session:
        found = session.exec(query.order_by(col(Review.decided_at))).all()
        return [(user.id or 0, review.finding, review.note) for review, user in found]


def test_a_reviewer_decides_a_part(kiosk: Any, announced: str, database: Database) -> None:
    page = kiosk.page
    kiosk.set_up(announced)
    cookies = page.context.cookies()
    assert len(cookies) == 2, "the login's, and that this browser is known"
    for cookie in cookies:
        assert cookie["name"].startswith("__Host-partgate-")
        assert cookie["secure"], "Chromium takes a Secure cookie over HTTP from loopback"

    page.get_by_role("button", name="Log out").click()
    page.get_by_label("Name").fill("Mara")
    page.get_by_label("Password").fill("a few words of mine")
    page.get_by_role("button", name="Log in").click()

    page.get_by_role("link", name=re.compile("Start reviewing")).click()
    kiosk.wait_for_part(4)
    assert _width(page, "#image") == 320
    assert _width(page, "#overlay") == 320

    page.locator("#strength").fill("85")
    assert _opacity(page) == pytest.approx(0.85)
    page.locator("h1").click()
    page.keyboard.press("h")
    assert _opacity(page) == 0
    page.keyboard.press("h")

    page.keyboard.press("n")
    page.keyboard.type(NOTE)
    assert _reviews(database) == [], "typing a d or a g decides nothing"
    page.keyboard.press("Escape")
    page.keyboard.press("g")
    kiosk.wait_for_part(3)

    assert page.locator("#strength").input_value() == "85", "the strength is remembered"
    assert _reviews(database) == [(1, Finding.GOOD, NOTE)]
    with database.read() as session:
        audited = session.exec(select(Audit).where(Audit.what == "review.add")).all()
        assert [(row.who, row.why, (row.after or {})["finding"]) for row in audited] == [
            ("Mara", NOTE, "GOOD")
        ]
        assert verify_audit(session) is None

    page.keyboard.press("b")
    kiosk.wait_for_part(4)
    expect(page.locator(".reviews .note")).to_have_text(NOTE)


def test_keys_go_through_the_queue(kiosk: Any, announced: str, database: Database) -> None:
    page = kiosk.page
    kiosk.set_up(announced)
    page.keyboard.press("Enter")
    kiosk.wait_for_part(4)
    page.keyboard.press("ArrowRight")
    kiosk.wait_for_part(3)
    page.keyboard.press("ArrowLeft")
    kiosk.wait_for_part(4)
    for trigger_id in (3, 2):
        page.keyboard.press("d")
        kiosk.wait_for_part(trigger_id)
    page.keyboard.press("d")
    expect(page.locator(".empty")).to_contain_text("Nothing left to review")
    assert [finding for _, finding, _ in _reviews(database)] == [Finding.DEFECTIVE] * 3


def test_the_image_can_be_looked_at_closely(kiosk: Any, announced: str) -> None:
    page = kiosk.page
    kiosk.set_up(announced)
    page.keyboard.press("Enter")
    kiosk.wait_for_part(4)
    expect(page.locator("#zoom-text")).to_have_text("fit")
    transform = "layers => new DOMMatrix(getComputedStyle(layers).transform).a"
    page.mouse.move(500, 400)
    page.mouse.wheel(0, -500)
    expect(page.locator("#viewport")).to_have_class(re.compile("zoomed"))
    closer = page.locator("#layers").evaluate(transform)
    assert closer > 2
    page.mouse.down()
    page.mouse.move(560, 430)
    page.mouse.up()
    assert page.locator("#layers").evaluate(transform) == pytest.approx(closer)
    page.keyboard.press("0")
    assert page.locator("#layers").evaluate(transform) == 1
    shapes = [page.locator(name).bounding_box() for name in ("#image", "#overlay")]
    assert shapes[0] == shapes[1], "the map lies exactly over its image"


def test_a_list_that_lies_open_says_what_is_new(kiosk: Any, announced: str, station: Any) -> None:
    page = kiosk.page
    page.clock.install()
    kiosk.set_up(announced)
    expect(page.locator("#fresh")).to_be_hidden()
    before = page.locator(".part-card").count()
    station.add(verdict=Verdict.REVIEW)
    page.clock.run_for(11_000)
    expect(page.locator("#fresh")).to_be_visible()
    expect(page.locator("h1")).to_have_text("4 to review")
    assert page.locator(".part-card").count() == before, "nothing moves until it is asked for"
    page.locator("#fresh").click()
    expect(page.locator(".part-card")).to_have_count(before + 1)


def test_the_essentials_work_without_scripts(
    browser: Browser, announced: str, database: Database, new_kiosk: Any
) -> None:
    context = browser.new_context(java_script_enabled=False)
    context.set_default_timeout(15_000)
    kiosk = new_kiosk(context.new_page())
    kiosk.set_up(announced)
    kiosk.page.locator("#start").click()
    kiosk.page.get_by_label(re.compile("^Note")).fill("without scripts")
    kiosk.page.get_by_role("button", name=re.compile("^Defective")).click()
    expect(kiosk.page.locator("h1")).to_have_text("Trigger 3")
    assert _reviews(database) == [(1, Finding.DEFECTIVE, "without scripts")]
    context.close()


def _hold_decisions(page: Page) -> list[Any]:
    """Keep every decision on its way; playwright asks nothing of a page that waits for an answer."""
    held: list[Any] = []

    def hold(route: Any) -> None:
        held.append(route)

    page.route("**/review*", hold)
    return held


def _middle(page: Page, selector: str) -> tuple[float, float]:
    box = page.locator(selector).bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def test_nothing_acts_while_a_decision_is_on_its_way(kiosk: Any, announced: str, database: Database) -> None:
    page = kiosk.page
    kiosk.set_up(announced)
    page.keyboard.press("Enter")
    kiosk.wait_for_part(4)
    places = [_middle(page, selector) for selector in ("a[data-key=escape]", ".person button", ".brand")]
    held = _hold_decisions(page)
    page.keyboard.press("d")
    page.wait_for_timeout(300)
    for key in ("ArrowRight", "Escape", "g"):
        page.keyboard.press(key)
    for place in places:
        page.mouse.click(*place)
    page.wait_for_timeout(300)
    assert len(held) == 1
    held[0].continue_()
    kiosk.wait_for_part(3)
    assert _reviews(database) == [(1, Finding.DEFECTIVE, "")]


def test_a_refused_decision_is_seen_whatever_is_pressed(
    kiosk: Any, announced: str, database: Database
) -> None:
    page = kiosk.page
    kiosk.set_up(announced)
    page.keyboard.press("Enter")
    kiosk.wait_for_part(4)
    held = _hold_decisions(page)
    page.keyboard.press("d")
    page.wait_for_timeout(300)
    page.keyboard.press("ArrowRight")
    page.wait_for_timeout(300)
    held[0].fulfill(status=503, content_type="text/html", body="<h1>Not now</h1>")
    expect(page.locator("h1")).to_have_text("Not now")
    assert _reviews(database) == []
    kiosk.complaints.clear()


def test_a_note_outlives_a_login_that_ends(kiosk: Any, announced: str, database: Database) -> None:
    page = kiosk.page
    kiosk.set_up(announced)
    page.keyboard.press("Enter")
    kiosk.wait_for_part(4)
    page.keyboard.press("n")
    page.keyboard.type("a crack, top left")
    page.keyboard.press("Escape")
    page.context.clear_cookies()
    page.keyboard.press("d")
    page.get_by_label("Name").fill("Mara")
    page.get_by_label("Password").fill("a few words of mine")
    page.get_by_role("button", name="Log in").click()
    kiosk.wait_for_part(4)
    assert page.locator("#note").input_value() == "a crack, top left"
    page.keyboard.press("d")
    kiosk.wait_for_part(3)
    assert _reviews(database) == [(1, Finding.DEFECTIVE, "a crack, top left")]
    page.keyboard.press("b")
    kiosk.wait_for_part(4)
    assert page.locator("#note").input_value() == "", "what was written down is no draft any more"
