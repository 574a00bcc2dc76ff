"""What all requests share, and how a route asks for it."""

from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Form, HTTPException
from starlette.requests import Request

from partgate.records import Database, ImageStore
from partgate.review._cookies import CookieNames
from partgate.review._desks import Desks
from partgate.review._ledger import Ledger
from partgate.review._left import Left
from partgate.review._logins import Login, Logins
from partgate.review._pages import Pages
from partgate.review._passwords import Passwords
from partgate.review._pictures import Pictures
from partgate.review._throttle import Throttle
from partgate.review._tokens import same


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """The parts of the running site. Everything in it may be used from any thread."""

    database: Database
    images: ImageStore
    pictures: Pictures
    logins: Logins
    pages: Pages
    passwords: Passwords
    setup_token: str | None
    cookies: CookieNames
    desks: Desks = field(default_factory=Desks)
    ledger: Ledger = field(default_factory=Ledger)
    left: Left = field(default_factory=Left)
    by_account: Throttle = field(default_factory=lambda: Throttle(free=5))
    by_address: Throttle = field(default_factory=lambda: Throttle(free=20))
    by_browser: Throttle = field(default_factory=lambda: Throttle(free=5))


async def site_of(request: Request) -> Site:
    """Return the site a request came to."""
    site: Site = request.app.state.site
    return site


async def login_of(request: Request) -> Login:
    """Return who is logged in; the gate lets nobody else come this far."""
    login: Login | None = request.state.login
    if login is None:
        raise HTTPException(401)
    return login


SiteDep = Annotated[Site, Depends(site_of)]
LoginDep = Annotated[Login, Depends(login_of)]


async def form_of_this_login(login: LoginDep, csrf: Annotated[str, Form(max_length=200)] = "") -> None:
    """Refuse a form that was not made for this login."""
    if not same(csrf, login.form_token):
        raise HTTPException(403)
