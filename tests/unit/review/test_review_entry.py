import contextlib
import re
import time
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pysqlite3
import pytest
from sqlmodel import Session, col, select

from partgate.records import Audit, Home, LoginSession, Review, StoreBusy, User, utc_now
from partgate.records._database import BUSY_TIMEOUT_S
from partgate.review import PasswordRefused
from partgate.review._cookies import cookie_names
from partgate.review._known_browsers import browser_token, known_browser, name_mark
from partgate.review._passwords import check_password, checked_name


def _site(visitor: Any) -> Any:
    return visitor.client.app.state.site


def _login_cookie(visitor: Any) -> str:
    """Return the name of the site's login cookie."""
    return str(_site(visitor).cookies.login)


def _cookies(response: Any) -> list[str]:
    return list(response.headers.get_list("set-cookie"))


def test_a_fresh_site_knows_no_account_and_says_what_to_do(stranger: Any) -> None:
    assert "set-up link" in stranger.get("/login").text
    for name, password in (("admin", "admin"), ("admin", "password"), ("Mara", "")):
        assert stranger.log_in(name, password).status_code == 401


def test_set_up_adds_one_user_logs_in_and_works_once(stranger: Any, line: Any) -> None:
    assert stranger.set_up("Mara").status_code == 303
    assert stranger.get("/").status_code == 200
    assert stranger.get("/setup?token=set-up-token-of-this-test").status_code == 404
    users = line.read(lambda session: session.exec(select(User)).all())
    assert [user.name for user in users] == ["Mara"]
    assert users[0].password_hash.startswith("$argon2id$")
    audited = line.read(lambda session: session.exec(select(Audit).where(Audit.what == "user.create")).all())
    assert [(row.who, row.after) for row in audited] == [("Mara", {"name": "Mara"})]


def test_two_people_with_the_same_set_up_link_make_one_user(stranger: Any, line: Any) -> None:
    hidden = stranger.hidden("/setup?token=set-up-token-of-this-test")
    both = {"password": "a few words of mine", "again": "a few words of mine"}
    first = stranger.post("/setup", hidden | both | {"name": "Mara"})
    second = stranger.post("/setup", hidden | both | {"name": "Ines"})
    assert (first.status_code, second.status_code) in {(303, 403), (303, 404)}
    assert line.read(lambda session: len(session.exec(select(User)).all())) == 1


@pytest.mark.parametrize("token", ["", "wrong", "set-up-token-of-this-tesT", "\u00fc" * 20], ids=repr)
def test_set_up_needs_the_token(stranger: Any, token: str) -> None:
    assert stranger.get("/setup", params={"token": token}).status_code == 404


@pytest.mark.parametrize(
    ("name", "password", "again", "problem"),
    [
        pytest.param("Mara", "short", "short", "8 to 128", id="too short"),
        pytest.param("Mara", "x" * 20, "x" * 20, "among the first", id="one letter"),
        pytest.param("Mara", "Password123", "Password123", "among the first", id="common"),
        pytest.param("Mara Lindt", "mara lindt", "mara lindt", "is the name", id="the name"),
        pytest.param("Mara", "good enough 1", "good enough 2", "differ", id="not the same"),
        pytest.param("   ", "good enough 1", "good enough 1", "1 to 64", id="no name"),
        pytest.param("Ma\u202era", "good enough 1", "good enough 1", "cannot be seen", id="hidden letter"),
    ],
)
def test_set_up_refuses_and_says_why(
    name: str, password: str, again: str, problem: str, stranger: Any
) -> None:
    page = "/setup?token=set-up-token-of-this-test"
    answer = stranger.post("/setup", {"name": name, "password": password, "again": again}, form=page)
    assert answer.status_code == 422
    assert problem in answer.text
    assert password not in answer.text


def test_long_passwords_without_any_rule_on_letters_are_allowed() -> None:
    check_password("ä" * 64 + "b" * 64, name="Mara", again="ä" * 64 + "b" * 64)
    assert checked_name("  Zoe\u0308 ") == "Zo\u00eb"
    with pytest.raises(PasswordRefused):
        check_password("a1" * 65, name="Mara", again="a1" * 65)


def test_the_cookie_is_bound_to_host_https_and_this_site(stranger: Any) -> None:
    cookies = _cookies(stranger.get("/login")) + _cookies(stranger.set_up())
    assert any(cookie.startswith(f"{_login_cookie(stranger)}=") for cookie in cookies)
    for cookie in cookies:
        assert cookie.startswith("__Host-")
        for word in ("Secure", "HttpOnly", "SameSite=strict", "Path=/"):
            assert word in cookie
        assert "Domain" not in cookie


def test_the_cookies_of_two_homes_have_different_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A browser does not tell them apart by port, as when two stations are forwarded to one machine."""
    here = Home(path=tmp_path / "home")
    names = cookie_names(here)
    assert names == cookie_names(here)
    assert names.login != names.form
    assert cookie_names(Home(path=tmp_path / "other")).login != names.login
    monkeypatch.setattr("socket.gethostname", lambda: "another-station")
    assert cookie_names(here).login != names.login, "the same path on another machine"
    assert cookie_names(here).form != names.form


def test_a_decision_after_the_login_ended_leads_back_to_its_part(reviewer: Any, line: Any) -> None:
    part = line.part()
    hidden = reviewer.hidden(f"/parts/{part}?product=brick")
    reviewer.client.cookies.clear()
    answer = reviewer.post(f"/parts/{part}/review?product=brick", hidden | {"finding": "GOOD"})
    assert answer.status_code == 303
    assert answer.headers["location"] == f"/login?then=%2Fparts%2F{part}%3Fproduct%3Dbrick"
    assert line.read(lambda session: session.exec(select(Review)).all()) == []
    assert reviewer.post(f"/parts/{part}/delete", hidden).status_code == 401


def test_who_is_logged_in_already_is_led_on_from_the_form(reviewer: Any) -> None:
    page = reviewer.get("/login", params={"then": "/people"})
    assert (page.status_code, page.headers["location"]) == (303, "/people")
    assert reviewer.get("/login", params={"then": "//evil.example"}).headers["location"] == "/"


def test_only_the_hash_of_a_token_is_stored(reviewer: Any, line: Any) -> None:
    token = reviewer.client.cookies[_login_cookie(reviewer)]
    rows = line.read(lambda session: session.exec(select(LoginSession)).all())
    assert len(rows) == 1
    assert token not in repr(rows)


def test_each_login_has_a_new_token(reviewer: Any) -> None:
    first = reviewer.client.cookies[_login_cookie(reviewer)]
    reviewer.client.cookies.clear()
    assert reviewer.log_in().status_code == 303
    assert reviewer.client.cookies[_login_cookie(reviewer)] != first


def _with_cookie(visitor: Any, token: str) -> int:
    visitor.client.cookies.clear()
    return int(visitor.get("/", headers={"cookie": f"{_login_cookie(visitor)}={token}"}).status_code)


def test_an_old_cookie_finds_nobody_after_logout(reviewer: Any) -> None:
    token = reviewer.client.cookies[_login_cookie(reviewer)]
    answer = reviewer.post("/logout", {}, form="/")
    assert answer.status_code == 303
    assert _login_cookie(reviewer) not in reviewer.client.cookies
    assert _with_cookie(reviewer, token) == 303


@pytest.mark.parametrize(
    ("change", "status"),
    [
        pytest.param({"last_seen_at": timedelta(hours=7, minutes=59)}, 200, id="idle, just within"),
        pytest.param({"last_seen_at": timedelta(hours=8, minutes=1)}, 303, id="idle too long"),
        pytest.param({"created_at": timedelta(hours=11, minutes=59)}, 200, id="old, just within"),
        pytest.param({"created_at": timedelta(hours=12, minutes=1)}, 303, id="too old"),
    ],
)
def test_a_login_ends_by_idling_and_by_age(
    change: dict[str, timedelta], status: int, reviewer: Any, line: Any
) -> None:
    def act(session: Session) -> None:
        row = session.exec(select(LoginSession)).one()
        for name, ago in change.items():
            setattr(row, name, utc_now() - ago)
        session.add(row)

    line.write(act)
    assert reviewer.get("/").status_code == status


def test_a_disabled_user_is_out_at_once(reviewer: Any, line: Any) -> None:
    def act(session: Session) -> None:
        user = session.exec(select(User)).one()
        user.disabled_at = utc_now()
        session.add(user)

    line.write(act)
    assert reviewer.get("/").status_code == 303
    assert reviewer.log_in().status_code == 401


def test_looking_at_pages_keeps_a_login_alive_and_an_open_list_does_not(reviewer: Any, line: Any) -> None:
    hour_ago = utc_now() - timedelta(hours=1)

    def act(session: Session) -> None:
        row = session.exec(select(LoginSession)).one()
        row.last_seen_at = hour_ago
        session.add(row)

    def last_seen(session: Session) -> Any:
        return session.exec(select(col(LoginSession.last_seen_at))).one()

    line.write(act)
    assert reviewer.get("/waiting").status_code == 200
    assert line.read(last_seen) == hour_ago
    assert reviewer.get("/").status_code == 200
    reviewer.client.app.state.site.database.write(lambda session: None).result(timeout=10)  # after the touch
    assert line.read(last_seen) > hour_ago


def test_who_is_logged_in_can_look_while_nothing_can_be_written(reviewer: Any, line: Any) -> None:
    def act(session: Session) -> None:
        row = session.exec(select(LoginSession)).one()
        row.last_seen_at = utc_now() - timedelta(hours=1)
        session.add(row)

    line.write(act)
    part = line.part()
    site = reviewer.client.app.state.site
    other = pysqlite3.connect(line.home.database_path, isolation_level=None)
    with contextlib.closing(other):
        other.execute("BEGIN IMMEDIATE")
        began_s = time.monotonic()
        for path in ("/", f"/parts/{part}", "/waiting"):
            assert reviewer.get(path).status_code == 200
        took_s = time.monotonic() - began_s
        assert site.logins._touching.locked(), "one note waits to be written, and no more"
        assert len(site.database._queue) == 0
        other.execute("ROLLBACK")
    assert took_s < BUSY_TIMEOUT_S / 2
    site.database.write(lambda session: None).result(timeout=10)
    assert not site.logins._touching.locked()


def test_logins_that_cannot_be_looked_up_are_said(reviewer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise StoreBusy("database: /secret/partgate.db is locked")

    monkeypatch.setattr(reviewer.client.app.state.site.logins, "find", fail)
    answer = reviewer.get("/")
    assert answer.status_code == 503
    assert "secret" not in answer.text
    assert reviewer.get("/live").status_code == 200
    assert reviewer.get("/static/site.css").status_code == 200


def test_wrong_name_and_wrong_password_look_the_same(reviewer: Any) -> None:
    reviewer.client.cookies.clear()
    answers = [reviewer.log_in("Mara", "wrong words"), reviewer.log_in("Nobody", "wrong words")]
    texts = [re.sub(r'value="[^"]*"', "", answer.text) for answer in answers]
    assert [answer.status_code for answer in answers] == [401, 401]
    assert texts[0] == texts[1]


def test_an_unknown_person_costs_one_check_like_a_known_one(reviewer: Any) -> None:
    """Counted and not timed: the hasher does the same work either way."""
    passwords = reviewer.client.app.state.site.passwords
    hasher, calls = passwords._hasher, []

    def counted(password: str, kept: str) -> Any:
        calls.append(kept)
        return hasher.verify_and_update(password, kept)

    passwords._hasher = SimpleNamespace(verify_and_update=counted)
    reviewer.client.cookies.clear()
    reviewer.log_in("Mara", "wrong words")
    reviewer.log_in("Nobody", "wrong words")
    assert len(calls) == 2
    assert all(kept.startswith("$argon2id$") for kept in calls)
    costs = [kept.split("$")[3] for kept in calls]
    assert costs[0] == costs[1]


def test_guessing_is_slowed_down_and_does_not_reach_the_hasher(reviewer: Any) -> None:
    reviewer.client.cookies.clear()
    statuses = [reviewer.log_in("Mara", "wrong words").status_code for _ in range(6)]
    assert statuses == [401] * 5 + [429]
    refused = reviewer.log_in("Mara")
    assert refused.status_code == 429, "the right password must wait as well"
    assert int(refused.headers["retry-after"]) >= 1


def _shut_out(visitor: Any, name: str) -> None:
    """Guess at a name until nobody gets in any more, and let no time pass from then on."""
    site, now_s = _site(visitor), time.monotonic()
    for throttle in (site.by_account, site.by_address, site.by_browser):
        throttle._clock = lambda: now_s
    for _ in range(5):
        visitor.log_in(name, "wrong words")
    assert visitor.log_in(name).status_code == 429


def test_guesses_elsewhere_do_not_shut_out_a_browser_that_is_known(reviewer: Any, colleague: Any) -> None:
    reviewer.post("/logout", {}, form="/")
    colleague.client.cookies.clear()
    _shut_out(colleague, "Mara")
    assert reviewer.log_in("Mara").status_code == 303
    assert colleague.log_in("Mara").status_code == 429, "who guesses still waits"


def test_a_known_browser_has_tries_of_its_own_and_not_more(reviewer: Any, colleague: Any) -> None:
    reviewer.post("/logout", {}, form="/")
    _shut_out(reviewer, "Mara")
    colleague.client.cookies.clear()
    assert colleague.log_in("Mara").status_code == 303, "nobody else guessed at the name"


def test_a_browser_is_known_for_its_own_people_alone(reviewer: Any, colleague: Any) -> None:
    reviewer.post("/logout", {}, form="/")
    colleague.client.cookies.clear()
    _shut_out(colleague, "Ines")
    assert reviewer.log_in("Ines").status_code == 429
    (name,) = [name for name in reviewer.client.cookies if name.startswith(_site(reviewer).cookies.known)]
    value = reviewer.client.cookies[name]
    of_ines = f"{_site(reviewer).cookies.known}-{name_mark('Ines')}"
    for forged in (value, value[:-1] + "x", "", "." * 200, value.split(".")[0] + "." + "0" * 64):
        reviewer.client.cookies.clear()
        hidden = reviewer.hidden("/login")
        (form,) = [f"{cookie.name}={cookie.value}" for cookie in reviewer.client.cookies.jar]
        words = {"name": "Ines", "password": "a few words of mine"}
        cookies = {"cookie": f"{form}; {of_ines}={forged}"}
        assert reviewer.post("/login", hidden | words, headers=cookies).status_code == 429, forged


def test_a_new_password_makes_the_cookies_of_known_browsers_worthless() -> None:
    token = browser_token("browser", 1, "$argon2id$one")
    assert known_browser(token, 1, "$argon2id$one") == "browser"
    assert known_browser(token, 1, "$argon2id$two") is None
    assert known_browser(token, 2, "$argon2id$one") is None


def test_a_hash_of_older_parameters_is_renewed_at_login(real_hashes: None, reviewer: Any, line: Any) -> None:
    from argon2 import PasswordHasher

    weak = PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1).hash("a few words of mine")

    def act(session: Session) -> None:
        user = session.exec(select(User)).one()
        user.password_hash = weak
        session.add(user)

    line.write(act)
    reviewer.client.cookies.clear()
    assert reviewer.log_in().status_code == 303
    kept = line.read(lambda session: session.exec(select(User.password_hash)).one())
    assert kept != weak
    assert "m=65536" in kept


@pytest.mark.parametrize(
    ("then", "where"),
    [
        pytest.param("/?verdict=REJECT", "/?verdict=REJECT", id="own page"),
        pytest.param("https://evil.example/", "/", id="other site"),
        pytest.param("//evil.example/", "/", id="other site without scheme"),
        pytest.param("/\\evil.example/", "/", id="backslash"),
        pytest.param("/\t/evil.example", "/", id="tab"),
        pytest.param("javascript:alert(1)", "/", id="script"),
    ],
)
def test_login_goes_on_to_pages_of_this_site_only(then: str, where: str, reviewer: Any) -> None:
    reviewer.client.cookies.clear()
    hidden = reviewer.hidden("/login")
    data = hidden | {"name": "Mara", "password": "a few words of mine", "then": then}
    answer = reviewer.post("/login", data)
    assert (answer.status_code, answer.headers["location"]) == (303, where)
