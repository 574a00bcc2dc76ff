"""The site put together."""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.staticfiles import StaticFiles

from partgate.records import Database, Home, ImageStore
from partgate.review import _entry, _people, _picture_routes, _reviewing
from partgate.review._cookies import cookie_names
from partgate.review._envelope import LOOPBACK_NAMES, Envelope
from partgate.review._failures import show_failures
from partgate.review._gate import Gate
from partgate.review._logins import Logins
from partgate.review._pages import STATIC, Pages
from partgate.review._passwords import Passwords
from partgate.review._pictures import Pictures
from partgate.review._site import Site


def create_app(
    home: Home, *, setup_token: str | None, allowed_hosts: Collection[str] = LOOPBACK_NAMES
) -> FastAPI:
    """Return the review site of a home; its database is open between start-up and shut-down.

    Args:
        home: whose parts are reviewed.
        setup_token: what the set-up page asks for; None where nobody is to be set up.
        allowed_hosts: the names the site is reached by, without port.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        site = await run_in_threadpool(_open_site, home, setup_token)
        app.state.site = site
        try:
            yield
        finally:
            await run_in_threadpool(site.database.close)

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    # The last one added is the first to see a request.
    app.add_middleware(Gate)
    app.add_middleware(Envelope, allowed_hosts=allowed_hosts)
    show_failures(app)
    for part in (_entry, _reviewing, _people, _picture_routes):
        app.include_router(part.router)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    return app


def _open_site(home: Home, setup_token: str | None) -> Site:
    database = Database.open(home)
    images = ImageStore(home)
    return Site(
        database=database,
        images=images,
        pictures=Pictures(images),
        logins=Logins(database),
        pages=Pages(),
        passwords=Passwords(),
        setup_token=setup_token,
        cookies=cookie_names(home),
    )
