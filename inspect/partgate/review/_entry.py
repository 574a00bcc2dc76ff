"""Set-up, login and logout."""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Annotated, Literal

import structlog
from fastapi import APIRouter, Depends, Form, HTTPException, Query
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from partgate.review._errors import PasswordRefused
from partgate.review._gate import is_own_path
from partgate.review._known_browsers import KEPT_FOR, browser_token, known_browser, name_mark
from partgate.review._logins import WRITE_TIMEOUT_S
from partgate.review._passwords import MAX_LENGTH, check_password, checked_name
from partgate.review._site import LoginDep, Site, SiteDep, form_of_this_login
from partgate.review._tokens import MAX_TOKEN_LENGTH, form_token, new_token, same
from partgate.review._users import add_first_user, any_user, replace_password_hash, user_named

log = structlog.get_logger(__name__)
router = APIRouter()

Name = Annotated[str, Form(max_length=256)]
Password = Annotated[str, Form(max_length=1024)]
Token = Annotated[str, Form(max_length=200)]
Then = Annotated[str, Form(max_length=2000)]


async def form_of_this_browser(
    request: Request, site: SiteDep, csrf: Annotated[str, Form(max_length=200)] = ""
) -> None:
    """Refuse a form that was not made for this browser."""
    secret = request.cookies.get(site.cookies.form, "")
    if not 0 < len(secret) <= MAX_TOKEN_LENGTH or not same(csrf, form_token(secret)):
        raise HTTPException(403)


@router.get("/live")
async def live() -> Response:
    """Say that the site runs."""
    return PlainTextResponse("ok")


@router.get("/login")
def login_page(
    request: Request, site: SiteDep, then: Annotated[str, Query(max_length=2000)] = "/"
) -> Response:
    """Show the form to log in."""
    if request.state.login is not None:
        return RedirectResponse(then if is_own_path(then) else "/", 303)
    return _login_form(request, site, then=then)


@router.post("/login", dependencies=[Depends(form_of_this_browser)])
def log_in(
    request: Request, site: SiteDep, name: Name = "", password: Password = "", then: Then = "/"
) -> Response:
    """Log a person in, or say that name or password is wrong, but not which."""
    user = _user(site, name)
    browser = _known_browser(request, site, user)
    wait_s = _seconds_to_wait(request, site, name, browser)
    if wait_s > 0:
        problem = f"Too many tries. Wait {int(wait_s) + 1} s and try again."
        response = _login_form(request, site, then=then, name=name, problem=problem, status=429)
        response.headers["retry-after"] = str(int(wait_s) + 1)
        return response
    checked = _checked(site, user, password)
    if checked is None:
        log.warning("login refused", address=_address(request))
        problem = "Name or password is wrong."
        return _login_form(request, site, then=then, name=name, problem=problem, status=401)
    if browser is not None:
        site.by_browser.forgive(browser)
    else:
        site.by_account.forgive(_account(name))
        site.by_address.take_back(_address(request))
    return _welcome(request, site, checked, then if is_own_path(then) else "/")


@router.post("/logout", dependencies=[Depends(form_of_this_login)])
def log_out(request: Request, site: SiteDep, login: LoginDep) -> Response:
    """End this login; its cookie is worthless from now on."""
    del login
    site.logins.end(request.cookies.get(site.cookies.login, ""))
    response = RedirectResponse("/login", 303)
    response.delete_cookie(site.cookies.login, path="/", secure=True, httponly=True, samesite="strict")
    return response


@router.get("/setup")
def setup_page(
    request: Request, site: SiteDep, token: Annotated[str, Query(max_length=200)] = ""
) -> Response:
    """Show the form for the first user to whoever brings the one-time token."""
    _check_setup_token(site, token)
    return _setup_form(request, site, token=token)


@router.post("/setup", dependencies=[Depends(form_of_this_browser)])
def set_up(
    request: Request,
    site: SiteDep,
    *,
    token: Token = "",
    name: Name = "",
    password: Password = "",
    again: Password = "",
) -> Response:
    """Add the first user and log them in; the token is worth nothing after that."""
    _check_setup_token(site, token)
    try:
        kept_name = checked_name(name)
        check_password(password, name=kept_name, again=again)
    except PasswordRefused as refused:
        return _setup_form(request, site, token=token, name=name, problem=str(refused), status=422)
    password_hash = site.passwords.hash(password)
    adding = site.database.write(
        lambda session: add_first_user(session, name=kept_name, password_hash=password_hash)
    )
    user_id = adding.result(timeout=WRITE_TIMEOUT_S)
    if user_id is None:
        raise HTTPException(404)
    return _welcome(request, site, _Known(id=user_id, name=kept_name, password_hash=password_hash), "/")


def _check_setup_token(site: Site, token: str) -> None:
    with site.database.read() as session:
        used = any_user(session)
    if used or site.setup_token is None or not same(token, site.setup_token):
        raise HTTPException(404)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """A person who may log in, and what is kept of their password."""

    id: int
    name: str
    password_hash: str


def _user(site: Site, name: str) -> _Known | None:
    try:
        kept_name = checked_name(name)
    except PasswordRefused:
        return None
    with site.database.read() as session:
        user = user_named(session, kept_name)
        if user is None or user.id is None:
            return None
        return _Known(id=user.id, name=user.name, password_hash=user.password_hash)


def _known_browser(request: Request, site: Site, user: _Known | None) -> str | None:
    if user is None:
        return None
    token = request.cookies.get(_known_cookie(site, user), "")
    return known_browser(token, user.id, user.password_hash)


def _known_cookie(site: Site, user: _Known) -> str:
    return f"{site.cookies.known}-{name_mark(user.name)}"


def _seconds_to_wait(request: Request, site: Site, name: str, browser: str | None) -> float:
    if browser is not None:
        return site.by_browser.admit(browser)
    wait_s = site.by_address.admit(_address(request))
    return wait_s if wait_s > 0 else site.by_account.admit(_account(name))


def _checked(site: Site, user: _Known | None, password: str) -> _Known | None:
    """Return the person whose password was right, with what is kept of it from now on."""
    # Longer than any password that may be set: refused as wrong, after the same time.
    checked = site.passwords.check(password[: MAX_LENGTH + 1], user.password_hash if user else None)
    if user is None or not checked.right:
        return None
    new_hash = checked.new_hash
    if new_hash is None:
        return user
    keeping = site.database.write(lambda session: replace_password_hash(session, user.id, new_hash))
    keeping.result(timeout=WRITE_TIMEOUT_S)
    return replace(user, password_hash=new_hash)


def _welcome(request: Request, site: Site, user: _Known, then: str) -> Response:
    """Begin a new session, never go on with one that was there before."""
    earlier = request.cookies.get(site.cookies.login, "")
    if request.state.login is not None:
        site.logins.end(earlier)
    response = RedirectResponse(then, 303)
    _set_cookie(response, site.cookies.login, site.logins.begin(user.id))
    browser = _known_browser(request, site, user) or new_token()
    token = browser_token(browser, user.id, user.password_hash)
    _set_cookie(response, _known_cookie(site, user), token, keep=KEPT_FOR)
    response.delete_cookie(site.cookies.form, path="/", secure=True, httponly=True, samesite="strict")
    return response


def _login_form(
    request: Request, site: Site, *, then: str, name: str = "", problem: str = "", status: int = 200
) -> Response:
    with site.database.read() as session:
        anybody = any_user(session)
    return _form(request, site, "login.html", status, then=then, name=name, problem=problem, anybody=anybody)


def _setup_form(
    request: Request, site: Site, *, token: str, name: str = "", problem: str = "", status: int = 200
) -> Response:
    return _form(request, site, "setup.html", status, token=token, name=name, problem=problem)


def _form(
    request: Request, site: Site, template: Literal["login.html", "setup.html"], status: int, **values: object
) -> Response:
    known = request.cookies.get(site.cookies.form, "")
    secret = known if 0 < len(known) <= MAX_TOKEN_LENGTH else new_token()
    response = site.pages.page(request, template, status=status, csrf=form_token(secret), **values)
    if secret != known:
        _set_cookie(response, site.cookies.form, secret)
    return response


def _set_cookie(response: Response, name: str, value: str, *, keep: timedelta | None = None) -> None:
    # Strict: nothing outside links into the site, and a link in a mail leads to the login page at worst.
    age_s = None if keep is None else int(keep.total_seconds())
    response.set_cookie(name, value, max_age=age_s, path="/", secure=True, httponly=True, samesite="strict")


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


def _account(name: str) -> str:
    return name.strip().casefold()[:256]
