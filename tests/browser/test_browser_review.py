"""The review site in a real Chromium: set-up, login, a part, a decision, and its rows."""

import hashlib
import queue
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect, sync_playwright
from sqlmodel import Session, col, select

from partgate.records import (
    Audit,
    ClosedPart,
    Database,
    Finding,
    Home,
    ImageStore,
    OpenPart,
    RecordedFrame,
    Recorder,
    Review,
    User,
    add_model,
    add_recipe,
    new_id,
    utc_now,
    verify_audit,
)
from partgate.review import serve
from partgate_station import Recipe, Thresholds, Verdict

pytestmark = pytest.mark.browser
expect.set_options(timeout=15_000)

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PARTS = 4
THRESHOLDS = Thresholds(review=20, reject=30)
NOTE = "<b onclick=alert(1)>dig & scratch</b>"


def _frame(number: int, *, defect: bool) -> RecordedFrame:
    """Make a grey texture of 320 x 240, with a bright square and a peak in the map where it is bad."""
    image = np.random.default_rng(number).integers(90, 130, (240, 320), dtype=np.uint8)
    anomaly_map = np.full((24, 32), 8, np.float32)
    if defect:
        image[100:120, 200:220] = 250
        anomaly_map[10:12, 20:22] = 40
    return RecordedFrame(
        camera_id="top",
        frame_id=number,
        received_at=utc_now(),
        image=image,
        score=40.0 if defect else 10.0,
        anomaly_map=anomaly_map,
    )


def _add_recipe(session: Session) -> int:
    model_id = hashlib.sha256(b"model").hexdigest()
    add_model(session, model_id=model_id, product="plate", kind="patchcore", by="test")
    recipe = Recipe(product="plate", thresholds=THRESHOLDS)
    row = add_recipe(session, recipe=recipe, model_id=model_id, by="test", reason="learned")
    assert row.id is not None
    return row.id


def _inspect(database: Database) -> None:
    """Write parts as a station does: one good, the others rejected."""
    recipe_id = database.write(_add_recipe).result(timeout=20)
    begin = utc_now() - timedelta(minutes=5)
    with Recorder(database, ImageStore(database.home), station_id="line1", keep="all") as recorder:
        for number in range(1, PARTS + 1):
            part_id, defect = new_id(), number > 1
            at = begin + timedelta(seconds=number)
            opened = OpenPart(
                part_id=part_id, trigger_id=number, triggered_at=at, product="plate", recipe_id=recipe_id
            )
            recorder.open_part(opened).result(timeout=20)
            frame = _frame(number, defect=defect)
            verdict = Verdict.REJECT if defect else Verdict.ACCEPT
            closed = ClosedPart(part_id=part_id, verdict=verdict, score=frame.score, frames=(frame,))
            recorder.close_part(closed)


@contextmanager
def _serving(home: Home) -> Iterator[str]:
    said: queue.Queue[str] = queue.Queue()
    stop = threading.Event()
    options = {"port": 0, "announce": said.put, "stop": stop}
    thread = threading.Thread(target=serve, args=(home,), kwargs=options, name="review-site")
    thread.start()
    try:
        yield said.get(timeout=30)
    finally:
        stop.set()
        thread.join(timeout=20)


@pytest.fixture
def database(home_in_tmp: Path) -> Iterator[Database]:
    with Database.open(Home.open(home_in_tmp)) as database:
        _inspect(database)
        yield database


@pytest.fixture
def announced(database: Database) -> Iterator[str]:
    with _serving(database.home) as text:
        yield text


@pytest.fixture
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        pytest.fail(f"{CHROMIUM} is missing; run tests/browser/install_chromium.sh")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield browser
        browser.close()


@dataclass
class Kiosk:
    """A page, and everything the browser complained about on it."""

    page: Page
    complaints: list[str] = field(default_factory=list)

    def listen(self) -> None:
        self.page.on("console", self._note)
        self.page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        self.page.on("requestfailed", self._note_failure)

    def _note(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(f"{message.type}: {message.text}")

    def _note_failure(self, request: Request) -> None:
        # A page that is left gives up what it was still fetching for the next one.
        if request.failure != "net::ERR_ABORTED":
            self.complaints.append(f"failed: {request.url} {request.failure}")

    def set_up(self, announced: str) -> None:
        link = re.search(r"http://\S+/setup\?token=\S+", announced)
        assert link is not None, announced
        self.page.goto(link[0])
        self.page.get_by_label("Name").fill("Mara")
        self.page.get_by_label(re.compile("^Password")).fill("a few words of mine")
        self.page.get_by_label("The same again").fill("a few words of mine")
        self.page.get_by_role("button", name="Begin").click()
        expect(self.page.locator("h1")).to_have_text("3 to review")
        self.page.wait_for_load_state()

    def wait_for_part(self, trigger_id: int) -> None:
        expect(self.page.locator("h1")).to_have_text(f"Trigger {trigger_id}")
        expect(self.page.locator("body[data-ready]")).to_be_attached()


@pytest.fixture
def kiosk(
    browser: Browser, announced: str, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Kiosk]:
    """A browser's window that closes before the site does."""
    assert announced
    context = browser.new_context(viewport={"width": 1366, "height": 768})
    context.set_default_timeout(15_000)
    kiosk = Kiosk(page=context.new_page())
    kiosk.listen()
    failed_before = request.session.testsfailed
    yield kiosk
    if request.session.testsfailed > failed_before or kiosk.complaints:
        kiosk.page.screenshot(path=tmp_path / "failed.png")
    context.close()
    assert kiosk.complaints == []


def _opacity(page: Page) -> float:
    return float(page.locator("#overlay").evaluate("image => getComputedStyle(image).opacity"))


def _width(page: Page, selector: str) -> int:
    return int(page.locator(selector).evaluate("image => image.naturalWidth"))


def _reviews(database: Database) -> list[tuple[int, Finding, str]]:
    query = select(Review, User).join(User, col(User.id) == col(Review.reviewer_id))
    with database.read() as session:
        found = session.exec(query.order_by(col(Review.decided_at))).all()
        return [(user.id or 0, review.finding, review.note) for review, user in found]


def test_a_reviewer_decides_a_part(kiosk: Kiosk, announced: str, database: Database) -> None:
    page = kiosk.page
    kiosk.set_up(announced)
    cookies = {cookie["name"]: cookie for cookie in page.context.cookies()}
    assert cookies["__Host-partgate"]["secure"], "Chromium takes a Secure cookie over HTTP from loopback"

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


def test_keys_go_through_the_queue(kiosk: Kiosk, announced: str, database: Database) -> None:
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


def test_the_image_can_be_looked_at_closely(kiosk: Kiosk, announced: str) -> None:
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


def test_a_list_that_lies_open_says_what_is_new(kiosk: Kiosk, announced: str, database: Database) -> None:
    page = kiosk.page
    page.clock.install()
    kiosk.set_up(announced)
    expect(page.locator("#fresh")).to_be_hidden()
    before = page.locator(".part-card").count()
    with Recorder(database, ImageStore(database.home), station_id="line1", keep="all") as recorder:
        part_id = new_id()
        opened = OpenPart(part_id=part_id, trigger_id=PARTS + 1, triggered_at=utc_now(), product="plate")
        recorder.open_part(opened).result(timeout=20)
        recorder.close_part(ClosedPart(part_id=part_id, verdict=Verdict.REVIEW, score=25.0))
    page.clock.run_for(11_000)
    expect(page.locator("#fresh")).to_be_visible()
    expect(page.locator("h1")).to_have_text("4 to review")
    assert page.locator(".part-card").count() == before, "nothing moves until it is asked for"
    page.locator("#fresh").click()
    expect(page.locator(".part-card")).to_have_count(before + 1)


def test_the_essentials_work_without_scripts(browser: Browser, announced: str, database: Database) -> None:
    context = browser.new_context(java_script_enabled=False)
    context.set_default_timeout(15_000)
    kiosk = Kiosk(page=context.new_page())
    kiosk.set_up(announced)
    kiosk.page.locator("#start").click()
    kiosk.page.get_by_label(re.compile("^Note")).fill("without scripts")
    kiosk.page.get_by_role("button", name=re.compile("^Defective")).click()
    expect(kiosk.page.locator("h1")).to_have_text("Trigger 3")
    assert _reviews(database) == [(1, Finding.DEFECTIVE, "without scripts")]
    context.close()
