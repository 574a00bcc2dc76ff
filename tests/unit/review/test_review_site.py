"""What holds for the whole site: who may pass, what every answer carries, what errors show."""

import json
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from sqlmodel import select
from starlette.routing import Mount
from starlette.testclient import TestClient

import partgate.review
from partgate.records import Review, StoreBusy
from partgate.review._envelope import MAX_BODY_BYTES
from partgate.review._gate import is_open
from partgate_station import Verdict

FOLDER = Path(partgate.review.__file__).parent
OPEN = {"/login", "/setup", "/live"}
POSTS_BEFORE_LOGIN = {"/login", "/setup"}
SOME_ID = str(uuid.uuid4())


def _filled(path: str) -> str:
    """Put ids into a route's path."""
    return re.sub(r"\{\w+\}", SOME_ID, path.replace("{user_id}", "1"))


def _routes(routes: Any) -> Iterator[tuple[str, str]]:
    """Walk all routes, those of routers in routers too."""
    for route in routes:
        if isinstance(route, APIRoute):
            for method in sorted(route.methods or ()):
                yield method, _filled(route.path)
        elif hasattr(route, "effective_route_contexts"):
            for context in route.effective_route_contexts():
                for method in sorted(context.methods):
                    yield method, _filled(context.path)
        else:
            assert isinstance(route, Mount), f"a route of a kind this walk does not know: {route!r}"


def _all(app: FastAPI) -> list[tuple[str, str]]:
    found = list(_routes(app.routes))
    assert len(found) >= 12, found
    return found


def test_every_route_but_those_listed_needs_a_login(app: FastAPI, stranger: Any) -> None:
    for method, path in _all(app):
        if path in OPEN:
            continue
        answer = stranger.client.request(method, path, headers={"origin": "https://127.0.0.1"})
        assert answer.status_code == 401, (method, path)
        if method == "GET":
            page = stranger.get(path)
            assert (page.status_code, page.headers["location"].split("?")[0]) == (303, "/login"), path


def test_a_path_that_is_no_route_says_nothing_to_strangers(stranger: Any) -> None:
    for path in ("/openapi.json", "/docs", "/redoc", "/parts", "/metrics", "/.env"):
        assert stranger.client.get(path).status_code == 401


def test_what_is_open_is_this_and_no_more() -> None:
    for path in ("/", "/parts/x", "/static", "/staticx", "/login/", "/live/x", "//login", "/LOGIN"):
        assert not is_open(path)


def test_there_are_no_api_pages(reviewer: Any) -> None:
    for path in ("/openapi.json", "/docs", "/redoc"):
        assert reviewer.get(path).status_code == 404


@pytest.mark.parametrize(
    "origin", [None, "null", "https://evil.example", "http://127.0.0.1:1", "https://127.0.0.1.evil.example"]
)
def test_forms_of_other_sites_are_refused_on_every_route(
    origin: str | None, app: FastAPI, reviewer: Any, line: Any
) -> None:
    part = line.part()
    hidden = reviewer.hidden(f"/parts/{part}") | {"finding": "GOOD"}
    headers = {} if origin is None else {"origin": origin}
    for method, path in _all(app):
        if method == "POST":
            address = path.replace(SOME_ID, str(part))
            assert reviewer.client.post(address, data=hidden, headers=headers).status_code == 403, path
    assert line.read(lambda session: session.exec(select(Review)).all()) == []


@pytest.mark.parametrize("token", ["", "0" * 64, "ü"])
def test_every_form_needs_its_token(token: str, app: FastAPI, reviewer: Any, line: Any) -> None:
    part = line.part()
    for method, path in _all(app):
        if method == "POST":
            answer = reviewer.post(
                path.replace(SOME_ID, str(part)), {"csrf": token, "finding": "GOOD", "token": "x"}
            )
            assert answer.status_code == 403, path
            assert "form has expired" in answer.text
    assert line.read(lambda session: session.exec(select(Review)).all()) == []


def test_a_form_of_another_login_is_refused(reviewer: Any, line: Any) -> None:
    part = line.part()
    hidden = reviewer.hidden(f"/parts/{part}")
    reviewer.client.cookies.clear()
    reviewer.log_in()
    assert reviewer.post(f"/parts/{part}/review", hidden | {"finding": "GOOD"}).status_code == 403


def test_looking_changes_nothing(app: FastAPI, reviewer: Any, line: Any) -> None:
    part = line.part()

    def everything(session: Any) -> list[str]:
        tables = ("part", "frame", "review", "audit", "user", "recipe", "activation", "login_session")
        return [
            repr(session.connection().exec_driver_sql(f'SELECT * FROM "{table}"').all()) for table in tables
        ]

    before = line.read(everything)
    for method, path in _all(app):
        if method == "GET":
            reviewer.get(path.replace(SOME_ID, str(part)))
    assert line.read(everything) == before


def _is_guarded(answer: Any) -> bool:
    policy = answer.headers["content-security-policy"]
    return (
        policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';")
        and "frame-ancestors 'none'" in policy
        and "unsafe" not in policy
        and answer.headers["x-content-type-options"] == "nosniff"
        and answer.headers["referrer-policy"] == "same-origin"
        and "server" not in answer.headers
        and "cache-control" in answer.headers
    )


def test_every_answer_carries_the_headers(reviewer: Any, line: Any) -> None:
    part = line.part()
    frame = re.search(r"/frames/[0-9a-f-]+/", reviewer.get(f"/parts/{part}").text)
    assert frame is not None
    paths = [
        "/",
        "/login",
        f"/parts/{part}",
        "/nothing",
        "/?state=x",
        "/static/site.css",
        "/static/nothing",
        "/live",
    ]
    answers = [reviewer.get(path) for path in [*paths, f"{frame[0]}image.png", f"{frame[0]}thumbnail.jpg"]]
    answers += [
        reviewer.client.post("/login", data={}),
        reviewer.get("/", headers={"host": "evil.example"}),
        reviewer.client.put("/", headers={"origin": "https://127.0.0.1"}),
        reviewer.post("/logout", {"csrf": "x" * 70_000}),
    ]
    statuses = {answer.status_code for answer in answers}
    assert {200, 303, 400, 403, 404, 405, 413, 422} <= statuses
    assert all(_is_guarded(answer) for answer in answers)
    for answer in answers:
        if answer.headers.get("content-type", "").startswith("text/html"):
            assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("127.0.0.1:8000", 200),
        ("localhost:8000", 200),
        ("LOCALHOST", 200),
        ("[::1]:8000", 200),
        ("evil.example", 400),
        ("127.0.0.1.evil.example", 400),
        ("localhost@evil.example", 400),
        ("10.0.0.9", 400),
        ("", 400),
    ],
)
def test_only_known_names_are_answered(host: str, status: int, stranger: Any) -> None:
    assert stranger.get("/live", headers={"host": host}).status_code == status


def test_bodies_are_bounded(reviewer: Any, line: Any) -> None:
    part = line.part()
    path = f"/parts/{part}/review"

    def chunks() -> Iterator[bytes]:
        yield b"csrf="
        for _ in range(20):
            yield b"x" * (MAX_BODY_BYTES // 8)

    headers = {"origin": "https://127.0.0.1", "content-type": "application/x-www-form-urlencoded"}
    assert reviewer.client.post(path, content=chunks(), headers=headers).status_code == 413
    assert (
        reviewer.client.post(path, content=b"", headers=headers | {"content-length": "-1"}).status_code == 413
    )


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        pytest.param(json.dumps({"finding": "GOOD"}).encode(), "application/json", id="JSON"),
        pytest.param(b"{" * 10_000, "application/json", id="deep JSON"),
        pytest.param(b"\xff\xfe\x00=%ff%00", "application/x-www-form-urlencoded", id="no UTF-8"),
        pytest.param(
            b"&".join(b"a=1" for _ in range(10_000)), "application/x-www-form-urlencoded", id="10,000 fields"
        ),
        pytest.param(b"--x\r\n", "multipart/form-data; boundary=x", id="half a form"),
        pytest.param(b"--x\r\n", "multipart/form-data", id="no boundary"),
    ],
)
def test_bodies_that_make_no_sense(content: bytes, content_type: str, reviewer: Any, line: Any) -> None:
    path = f"/parts/{line.part()}/review"
    headers = {"origin": "https://127.0.0.1", "content-type": content_type}
    answer = reviewer.client.post(path, content=content, headers=headers)
    assert answer.status_code in {400, 403, 422}
    assert "request <code>" in answer.text


def test_crashes_show_a_number_and_nothing_of_what_is_inside(reviewer: Any, line: Any) -> None:
    part = line.part()
    site = reviewer.client.app.state.site

    def crash(*_: object, **__: object) -> None:
        raise RuntimeError("/secret/path SELECT * FROM user")

    hidden = reviewer.hidden(f"/parts/{part}")
    site.database.write = crash
    answer = reviewer.post(f"/parts/{part}/review", hidden | {"finding": "GOOD"})
    assert answer.status_code == 500
    assert re.search(r"request <code>[0-9a-f]{16}</code>", answer.text)
    for secret in ("secret", "SELECT", "RuntimeError", "Traceback"):
        assert secret not in answer.text
    assert _is_guarded(answer)


def test_records_that_cannot_be_written_are_said(reviewer: Any, line: Any) -> None:
    part = line.part()
    site = reviewer.client.app.state.site

    def busy(*_: object) -> None:
        raise StoreBusy("database: /secret/partgate.db is locked")

    hidden = reviewer.hidden(f"/parts/{part}")
    site.database.write = busy
    answer = reviewer.post(f"/parts/{part}/review", hidden | {"finding": "GOOD"})
    assert answer.status_code == 503
    assert "secret" not in answer.text


@pytest.mark.parametrize(
    "path",
    ["/parts/1", "/parts/-1", "/parts/9223372036854775808", f"/parts/{SOME_ID}%00", "/frames/1/image.png"],
)
def test_ids_that_are_none(path: str, reviewer: Any) -> None:
    assert reviewer.get(path).status_code in {404, 422}


HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'><svg onload=alert(1)>",
    "{{ 7 * 7 }}{% raw %}",
    "</title></textarea><script>alert(2)</script>",
    "\u202egnp.exe",
]


def test_what_people_and_machines_wrote_is_escaped_everywhere(reviewer: Any, line: Any) -> None:
    for text in HOSTILE:
        reason = {"reason": text} if text else {}
        part = line.part(
            Verdict.UNDECIDED, serial_number=text[:100], product=text[:64], runtime=text, **reason
        )
        reviewer.decide(part, "GOOD", note=text)
        pages = [
            reviewer.get(f"/parts/{part}"),
            reviewer.get("/?state=all"),
            reviewer.get("/", params={"find": text}),
            reviewer.get("/", params={"product": text, "state": "all"}),
        ]
        for page in pages:
            assert page.status_code == 200
            for tag in ("<script>", "<img src=x", "<svg onload", "</textarea><"):
                assert tag not in page.text
            if "\u202e" in text and text in page.text:
                assert f"<bdi>{text}</bdi>" in page.text
        assert "49" not in re.findall(r"<bdi>(.*?)</bdi>", pages[0].text)
    reviewer.client.cookies.clear()
    for text in HOSTILE:
        assert "<script>" not in reviewer.log_in(text, "wrong words").text
        assert "<script>" not in reviewer.get("/login", params={"then": text}).text


def test_templates_and_scripts_keep_to_the_policy() -> None:
    templates = sorted((FOLDER / "templates").glob("*.html"))
    scripts = sorted((FOLDER / "static").glob("*.js"))
    assert len(templates) >= 6
    assert len(scripts) >= 4
    for path in templates:
        text = path.read_text()
        assert not re.search(
            r"\|\s*safe|Markup|autoescape|\sstyle=|\son\w+=|javascript:|<script(?! type)", text
        ), path
        assert not re.search(r"https?://", text), path
    for path in scripts:
        text = path.read_text()
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|https?://", text
        ), path
        assert len(text.splitlines()) <= 150, path


def test_the_database_is_closed_with_the_site(line: Any) -> None:
    from partgate.review import create_app

    app = create_app(line.home, setup_token=None)
    with TestClient(app, base_url="https://127.0.0.1") as client:
        assert client.get("/live").text == "ok"
        database = app.state.site.database
    assert database._closed
