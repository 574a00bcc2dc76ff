"""Set-up, login and logout."""

from typing import Annotated, Literal

import structlog
from fastapi import APIRouter, Depends, Form, HTTPException, Query
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from partgate.review._errors import PasswordRefused
from partgate.review._gate import is_own_path
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
    wait_s = _seconds_to_wait(request, site, name)
    if wait_s > 0:
        problem = f"Too many tries. Wait {int(wait_s) + 1} s and try again."
        response = _login_form(request, site, then=then, name=name, problem=problem, status=429)
        response.headers["retry-after"] = str(int(wait_s) + 1)
        return response
    user_id = _checked_user(site, name, password)
    if user_id is None:
        log.warning("login refused", address=_address(request))
        problem = "Name or password is wrong."
        return _login_form(request, site, then=then, name=name, problem=problem, status=401)
    site.by_account.forgive(_account(name))
    site.by_address.take_back(_address(request))
    return _welcome(request, site, user_id, then if is_own_path(then) else "/")


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
    return _welcome(request, site, user_id, "/")


def _check_setup_token(site: Site, token: str) -> None:
    with site.database.read() as session:
        used = any_user(session)
    if used or site.setup_token is None or not same(token, site.setup_token):
        raise HTTPException(404)


def _seconds_to_wait(request: Request, site: Site, name: str) -> float:
    wait_s = site.by_address.admit(_address(request))
    return wait_s if wait_s > 0 else site.by_account.admit(_account(name))


def _checked_user(site: Site, name: str, password: str) -> int | None:
    try:
        kept_name = checked_name(name)
    except PasswordRefused:
        kept_name = ""
    with site.database.read() as session:
        user = user_named(session, kept_name)
        kept = None if user is None else (user.id, user.password_hash)
    # Longer than any password that may be set: refused as wrong, after the same time.
    checked = site.passwords.check(password[: MAX_LENGTH + 1], kept[1] if kept else None)
    if kept is None or kept[0] is None or not checked.right:
        return None
    user_id, new_hash = kept[0], checked.new_hash
    if new_hash is not None:
        keeping = site.database.write(lambda session: replace_password_hash(session, user_id, new_hash))
        keeping.result(timeout=WRITE_TIMEOUT_S)
    return user_id


def _welcome(request: Request, site: Site, user_id: int, then: str) -> Response:
    """Begin a new session, never go on with one that was there before."""
    earlier = request.cookies.get(site.cookies.login, "")
    if request.state.login is not None:
        site.logins.end(earlier)
    response = RedirectResponse(then, 303)
    _set_cookie(response, site.cookies.login, site.logins.begin(user_id))
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


def _set_cookie(response: Response, name: str, value: str) -> None:
    # Strict: nothing outside links into the site, and a link in a mail leads to the login page at worst.
    response.set_cookie(name, value, path="/", secure=True, httponly=True, samesite="strict")


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


def _account(name: str) -> str:
    return name.strip().casefold()[:256]
