"""Nobody passes without a login, except to the few pages that are listed here."""

import re
from urllib.parse import urlencode, urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from partgate.review._failures import unavailable
from partgate.review._logins import Login
from partgate.review._site import Site
from partgate_station import PartgateError

OPEN_PATHS = frozenset({"/login", "/setup", "/live"})
# Asked for by an open page, not by a person: it must not keep a forgotten login alive.
UNATTENDED_PATHS = frozenset({"/waiting"})
OPEN_FOLDER = "/static/"
# The same for everybody, so that they need no database.
ANONYMOUS_PATHS = frozenset({"/live"})
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
DECISION = re.compile(r"(?P<part>/parts/[^/]+)/review")


def is_open(path: str) -> bool:
    """Return whether a path may be asked for without a login."""
    return path in OPEN_PATHS or path.startswith(OPEN_FOLDER)


def is_own_path(path: str) -> bool:
    """Return whether a text is a path on this site, and not the address of another one."""
    parts = urlsplit(path)
    return (
        path.startswith("/")
        and not path.startswith(("//", "/\\"))
        and not parts.netloc
        and path.isprintable()
    )


class Gate:
    """ASGI middleware: finds out who is there, refuses forms of other sites, denies by default."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request pass, or answer it here."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            request = Request(scope)
            try:
                refusal = await _refusal(request)
            except (PartgateError, TimeoutError) as error:
                refusal = unavailable(request, error)
            await (refusal or self._app)(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008})


async def _refusal(request: Request) -> Response | None:
    site: Site = request.app.state.site
    anonymous = request.url.path in ANONYMOUS_PATHS or request.url.path.startswith(OPEN_FOLDER)
    token = "" if anonymous else request.cookies.get(site.cookies.login, "")
    request.state.login = await run_in_threadpool(_login, site, token, request.url.path) if token else None
    if request.method not in SAFE_METHODS and not _is_own_form(request):
        return site.pages.error(request, 403)
    if request.state.login is None and not is_open(request.url.path):
        return _ask_to_log_in(request, site)
    return None


def _login(site: Site, token: str, path: str) -> Login | None:
    return site.logins.find(token, touch=path not in UNATTENDED_PATHS)


def _ask_to_log_in(request: Request, site: Site) -> Response:
    page = _page_of(request) if "text/html" in request.headers.get("accept", "") else None
    if page is None:
        return site.pages.error(request, 401)
    path = page + (f"?{request.url.query}" if request.url.query else "")
    return RedirectResponse("/login" if path == "/" else f"/login?{urlencode({'then': path})}", 303)


def _page_of(request: Request) -> str | None:
    """Return the path of the page that a person asked for, or decided on; None for anything else."""
    if request.method == "GET":
        return request.url.path
    decision = DECISION.fullmatch(request.url.path) if request.method == "POST" else None
    return decision["part"] if decision else None


def _is_own_form(request: Request) -> bool:
    """Compare Origin to Host, which the envelope has checked; a browser sends Origin with every POST."""
    origin = urlsplit(request.headers.get("origin", ""))
    return origin.scheme in {"http", "https"} and origin.netloc == request.headers.get("host", "")
