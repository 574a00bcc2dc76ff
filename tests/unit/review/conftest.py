"""A real home with real rows, the site over it, and people who visit it."""

import re
import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pysqlite3
import pytest
from fastapi import FastAPI
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from sqlmodel import Session
from starlette.testclient import TestClient

from partgate.records import (
    Database,
    Frame,
    Home,
    ImageState,
    ImageStore,
    Part,
    Station,
    activate,
    add_model,
    add_recipe,
    new_id,
)
from partgate.review import _ledger, _left, create_app
from partgate_station import Recipe, Thresholds, Verdict

T = TypeVar("T")

ORIGIN = "https://127.0.0.1"
SETUP_TOKEN = "set-up-token-of-this-test"
PASSWORD = "a few words of mine"
BEGIN = datetime(2026, 5, 4, 6, 0, tzinfo=UTC)
MODEL_ID = "ab" * 32
RECIPE_ID = 1
FORCING = ("PRAGMA ignore_check_constraints = ON", "PRAGMA foreign_keys = OFF")


@dataclass
class Line:
    """Writes parts as a station would; every part is three seconds after the one before."""

    home: Home
    database: Database
    images: ImageStore
    triggers: int = 0
    parts: list[uuid.UUID] = field(default_factory=list)

    def write(self, act: Callable[[Session], T]) -> T:
        return self.database.write(act).result(timeout=10)

    def image(self, seed: int = 0, shape: tuple[int, ...] = (48, 64)) -> str:
        return self.images.put(np.random.default_rng(seed).integers(0, 255, shape, dtype=np.uint8))

    def anomaly_map(self, peak: float = 40.0) -> str:
        values = np.full((8, 8), 5, np.float32)
        values[2:4, 5:7] = peak
        return self.images.put_map(values)

    def part(
        self,
        verdict: Verdict | None = Verdict.REJECT,
        *,
        frames: int = 1,
        scores: Sequence[float | None] = (),
        **values: Any,
    ) -> uuid.UUID:
        """Add a part; `frames` images of it are kept, each with a map, or one for each of the scores."""
        self.triggers += 1
        at = BEGIN + timedelta(seconds=3 * self.triggers)
        reason = "DEADLINE: no frame" if verdict is Verdict.UNDECIDED else None
        usual: dict[str, Any] = {
            "station_id": "line1",
            "trigger_id": self.triggers,
            "triggered_at": at,
            "product": "brick",
            "recipe_id": RECIPE_ID,
            "model_id": MODEL_ID,
            "verdict": verdict,
            "reason": reason,
            "score": None if verdict in (None, Verdict.UNDECIDED) else 34.5,
            "latency_ms": 21.5,
            "closed_at": None if verdict is None else at,
        }
        part_id = new_id()
        given = scores or (34.5,) * frames
        rows = [self._frame(part_id, number, at, score) for number, score in enumerate(given)]

        def act(session: Session) -> None:
            session.add(Part(id=part_id, **(usual | values)))
            session.flush()
            session.add_all(rows)

        self.write(act)
        self.parts.append(part_id)
        return part_id

    def _frame(self, part_id: uuid.UUID, number: int, at: datetime, score: float | None) -> Frame:
        return Frame(
            part_id=part_id,
            camera_id=f"camera{number}",
            frame_id=self.triggers,
            received_at=at,
            height_px=48,
            width_px=64,
            channels=1,
            score=score,
            image_state=ImageState.KEPT,
            image_sha256=self.image(seed=10 * self.triggers + number),
            map_sha256=self.anomaly_map(),
        )

    def force(self, *statements: str) -> None:
        """Write what the tables forbid, as a later version or a careless person would."""
        connection = pysqlite3.connect(self.home.database_path, timeout=10)
        try:
            triggers = connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
            for statement in (*(f"DROP TRIGGER {name}" for (name,) in triggers), *FORCING, *statements):
                connection.execute(statement)
            connection.commit()
        finally:
            connection.close()

    def read(self, query: Callable[[Session], T]) -> T:
        with self.database.read() as session:
            return query(session)


@pytest.fixture(scope="session")
def learned_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with one learned product and no parts; each test works on a copy."""
    home = Home.open(tmp_path_factory.mktemp("learned") / "home")

    def act(session: Session) -> None:
        session.add(Station(id="line1", name="Line one"))
        add_model(session, model_id=MODEL_ID, product="brick", kind="patchcore", by="test")
        recipe = Recipe(product="brick", thresholds=Thresholds(review=20, reject=30))
        row = add_recipe(session, recipe=recipe, model_id=MODEL_ID, by="test", reason="learned")
        assert row.id == RECIPE_ID
        activate(session, recipe_id=RECIPE_ID, by="test", reason="learned")

    with Database.open(home) as database:
        database.write(act).result(timeout=10)
    return home.path


@pytest.fixture
def line(learned_home: Path, home_in_tmp: Path) -> Iterator[Line]:
    shutil.copytree(learned_home, home_in_tmp)
    home = Home.open(home_in_tmp)
    with Database.open(home) as database:
        yield Line(home=home, database=database, images=ImageStore(home))


@pytest.fixture(autouse=True)
def counts_are_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep a slow machine from making what is counted rest."""
    for module in (_ledger, _left):
        monkeypatch.setattr(module, "FRESH_BELOW_S", float("inf"))


@pytest.fixture
def real_hashes() -> None:
    """Asked for by a test that needs password hashes at their full cost."""


@pytest.fixture(autouse=True)
def quick_hashes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make hashing passwords cheap; it is Argon2id all the same."""
    if "real_hashes" not in request.fixturenames:
        quick = Argon2Hasher(time_cost=1, memory_cost=64, parallelism=1)
        monkeypatch.setattr(PasswordHash, "recommended", lambda: PasswordHash((quick,)))


@pytest.fixture
def app(line: Line) -> FastAPI:
    return create_app(line.home, setup_token=SETUP_TOKEN)


@dataclass
class Visitor:
    """A browser as far as forms go: keeps cookies, sends Origin, brings a form's hidden token back."""

    client: TestClient

    def get(self, path: str, **options: Any) -> Any:
        return self.client.get(path, headers={"accept": "text/html"} | options.pop("headers", {}), **options)

    def post(self, path: str, data: dict[str, str], *, form: str | None = None, **options: Any) -> Any:
        """Fill in the form on the page `form` and send it."""
        hidden = {} if form is None else self.hidden(form)
        headers = {"origin": ORIGIN, "accept": "text/html"} | options.pop("headers", {})
        return self.client.post(path, data=hidden | data, headers=headers, **options)

    def hidden(self, page: str) -> dict[str, str]:
        text = self.get(page).text
        fields = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', text)
        assert any(name == "csrf" for name, _ in fields), f"{page} has no form:\n{text[:600]}"
        return dict(fields)

    def set_up(self, name: str = "Mara", password: str = PASSWORD) -> Any:
        page = f"/setup?token={SETUP_TOKEN}"
        return self.post("/setup", {"name": name, "password": password, "again": password}, form=page)

    def log_in(self, name: str = "Mara", password: str = PASSWORD) -> Any:
        return self.post("/login", {"name": name, "password": password}, form="/login")

    def decide(self, part_id: uuid.UUID, finding: str, note: str = "", query: str = "") -> Any:
        page = f"/parts/{part_id}{query}"
        return self.post(f"/parts/{part_id}/review{query}", {"finding": finding, "note": note}, form=page)


@pytest.fixture
def stranger(app: FastAPI) -> Iterator[Visitor]:
    """Somebody who is not logged in."""
    with TestClient(app, base_url=ORIGIN, follow_redirects=False, raise_server_exceptions=False) as client:
        yield Visitor(client)


@pytest.fixture
def reviewer(stranger: Visitor) -> Visitor:
    """The same visitor, after set-up: logged in as Mara."""
    assert stranger.set_up().status_code == 303
    return stranger


@pytest.fixture
def colleague(app: FastAPI, reviewer: Visitor) -> Visitor:
    """Another reviewer at another browser: logged in as Ines."""
    words = {"name": "Ines", "password": PASSWORD, "again": PASSWORD}
    assert reviewer.post("/people", words, form="/people").status_code == 303
    # Not entered as a context: the site runs already.
    client = TestClient(app, base_url=ORIGIN, follow_redirects=False, raise_server_exceptions=False)
    visitor = Visitor(client)
    assert visitor.log_in("Ines").status_code == 303
    return visitor
