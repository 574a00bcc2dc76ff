"""A home with real rows, the site over it, and a Chromium that visits it."""

import hashlib
import queue
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect, sync_playwright
from sqlmodel import Session

from partgate.records import (
    ClosedPart,
    Database,
    Home,
    ImageStore,
    OpenPart,
    RecordedFrame,
    Recorder,
    add_model,
    add_recipe,
    new_id,
    utc_now,
)
from partgate.review import serve
from partgate_station import Recipe, Thresholds, Verdict

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


def _frame(
    number: int, *, defect: bool, camera_id: str = "top", shape: tuple[int, int] = (240, 320)
) -> RecordedFrame:
    """Make a grey texture, with a bright square and a peak in the map where it is bad."""
    image = np.random.default_rng(number).integers(90, 130, shape, dtype=np.uint8)
    anomaly_map = np.full((24, 32), 8, np.float32)
    if defect:
        image[100:120, 200:220] = 250
        anomaly_map[10:12, 20:22] = 40
    return RecordedFrame(
        camera_id=camera_id,
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


@dataclass
class Station:
    """Writes parts as a station does, each a second after the one before."""

    database: Database
    recipe_id: int
    triggers: int = 0

    def add(self, *frames: RecordedFrame, verdict: Verdict = Verdict.REJECT) -> None:
        """Add a part of these frames; its score is the worst of theirs."""
        self.triggers += 1
        at = utc_now() - timedelta(minutes=5) + timedelta(seconds=self.triggers)
        part = OpenPart(
            part_id=new_id(),
            trigger_id=self.triggers,
            triggered_at=at,
            product="plate",
            recipe_id=self.recipe_id,
        )
        scores = [frame.score for frame in frames if frame.score is not None]
        images = ImageStore(self.database.home)
        with Recorder(self.database, images, station_id="line1", keep="all") as recorder:
            recorder.open_part(part).result(timeout=20)
            recorder.close_part(
                ClosedPart(
                    part_id=part.part_id, verdict=verdict, score=max(scores, default=25.0), frames=frames
                )
            )

    def frame(self, *, defect: bool = True, **options: Any) -> RecordedFrame:
        """Return a frame that no part before had."""
        return _frame(100 * self.triggers + len(options.get("camera_id", "")), defect=defect, **options)


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
def station(home_in_tmp: Path) -> Iterator[Station]:
    """A station that has inspected: one good part, the others rejected."""
    with Database.open(Home.open(home_in_tmp)) as database:
        station = Station(database=database, recipe_id=database.write(_add_recipe).result(timeout=20))
        for number in range(1, PARTS + 1):
            defect = number > 1
            verdict = Verdict.REJECT if defect else Verdict.ACCEPT
            station.add(_frame(number, defect=defect), verdict=verdict)
        yield station


@pytest.fixture
def database(station: Station) -> Database:
    return station.database


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
        expect(self.page.locator("h1")).to_have_text(re.compile("to review$"))
        self.page.wait_for_load_state()

    def wait_for_part(self, trigger_id: int) -> None:
        expect(self.page.locator("h1")).to_have_text(f"Trigger {trigger_id}")
        expect(self.page.locator("body[data-ready]")).to_be_attached()


@pytest.fixture
def new_kiosk() -> Callable[[Page], Kiosk]:
    """What makes a kiosk of any page."""
    return lambda page: Kiosk(page=page)


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
