"""Errors become pages: one table from what was raised to a status."""

import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from partgate.review._site import Site
from partgate_station import PartgateError

log = structlog.get_logger(__name__)


def show_failures(app: FastAPI) -> None:
    """Make an app answer errors with pages of the site."""
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _not_allowed)
    app.add_exception_handler(PartgateError, _unavailable)
    app.add_exception_handler(TimeoutError, _unavailable)


async def _refused(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    response = _site(request).pages.error(request, status)
    if isinstance(error, HTTPException) and error.headers:
        response.headers.update(error.headers)
    return response


async def _not_allowed(request: Request, error: Exception) -> Response:
    del error  # its text repeats what was sent
    return _site(request).pages.error(request, 422)


async def _unavailable(request: Request, error: Exception) -> Response:
    return unavailable(request, error)


def unavailable(request: Request, error: Exception) -> Response:
    """Return the page that says that the records cannot be reached; the reason goes to the log."""
    log.error(
        "records unavailable", request_id=request.state.request_id, path=request.url.path, error=str(error)
    )
    return _site(request).pages.error(request, 503)


def _site(request: Request) -> Site:
    site: Site = request.app.state.site
    return site
