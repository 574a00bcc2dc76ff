"""The page on which reviewers add and disable each other."""

from typing import Annotated

from fastapi import APIRouter, Depends, Form, HTTPException, Path
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from partgate.review._errors import PasswordRefused
from partgate.review._logins import WRITE_TIMEOUT_S
from partgate.review._passwords import check_password, checked_name
from partgate.review._site import LoginDep, Site, SiteDep, form_of_this_login
from partgate.review._users import Change, add_user, disable_user, users

router = APIRouter(prefix="/people")

UserId = Annotated[int, Path(ge=1, le=2**63 - 1)]


@router.get("")
def people_page(request: Request, site: SiteDep, login: LoginDep) -> Response:
    """Show who may log in."""
    del login
    return _show(request, site)


@router.post("", dependencies=[Depends(form_of_this_login)])
def add_person(
    request: Request,
    site: SiteDep,
    login: LoginDep,
    *,
    name: Annotated[str, Form(max_length=256)] = "",
    password: Annotated[str, Form(max_length=1024)] = "",
    again: Annotated[str, Form(max_length=1024)] = "",
) -> Response:
    """Add a person with a first password."""
    try:
        kept_name = checked_name(name)
        check_password(password, name=kept_name, again=again)
    except PasswordRefused as refused:
        return _show(request, site, name=name, problem=str(refused), status=422)
    password_hash = site.passwords.hash(password)
    adding = site.database.write(
        lambda session: add_user(session, name=kept_name, password_hash=password_hash, by=login.name)
    )
    if adding.result(timeout=WRITE_TIMEOUT_S) is Change.NAME_TAKEN:
        problem = "Somebody has or had this name; choose another."
        return _show(request, site, name=name, problem=problem, status=422)
    return RedirectResponse("/people", 303)


@router.post("/{user_id}/disable", dependencies=[Depends(form_of_this_login)])
def disable_person(request: Request, site: SiteDep, login: LoginDep, user_id: UserId) -> Response:
    """Bar a person; what they decided stays."""
    disabling = site.database.write(
        lambda session: disable_user(session, user_id=user_id, by_id=login.user_id, by=login.name)
    )
    match disabling.result(timeout=WRITE_TIMEOUT_S):
        case Change.NO_SUCH_USER:
            raise HTTPException(404)
        case Change.NOT_ONESELF:
            problem = "You cannot disable yourself; ask another reviewer."
            return _show(request, site, problem=problem, status=409)
        case _:
            return RedirectResponse("/people", 303)


def _show(request: Request, site: Site, *, name: str = "", problem: str = "", status: int = 200) -> Response:
    with site.database.read() as session:
        ledger, people = site.ledger.count(session), list(users(session))
    return site.pages.page(
        request, "people.html", status=status, ledger=ledger, people=people, name=name, problem=problem
    )
