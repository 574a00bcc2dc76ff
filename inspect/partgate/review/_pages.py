"""Pages from templates; everything a template shows is escaped."""

from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path

import jinja2
from starlette.requests import Request
from starlette.responses import HTMLResponse

from partgate.records import Finding
from partgate_station import Verdict

FOLDER = Path(__file__).parent
STATIC = FOLDER / "static"
NO_VALUE = "\N{EN DASH}"

SENTENCES: Mapping[int, str] = {
    400: "The browser sent something that cannot be understood.",
    401: "Log in to go on.",
    403: "The form has expired or came from another site. Go back, reload the page and send it again.",
    404: "There is no such page, part or image.",
    405: "That cannot be done here.",
    409: "The part changed in the meantime.",
    413: "That was too much at once; shorten the note.",
    422: "A value in the address or in the form is not one of those allowed.",
    429: "Too many tries. Wait a minute and try again.",
    500: "Something went wrong here. It has been written down under the number below.",
    503: "The records cannot be reached at the moment. Try again.",
}


class Pages:
    """Renders the templates of this package."""

    def __init__(self) -> None:
        self._environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(FOLDER / "templates"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters.update(
            score=score_text,
            clock=clock_text,
            day=day_text,
            moment=moment_text,
            iso=iso_text,
            verdict_kind=verdict_kind,
            verdict_text=verdict_text,
            finding_text=finding_text,
        )

    def text(self, template: str, **values: object) -> str:
        """Return a rendered template.

        Raises:
            jinja2.UndefinedError: a value that the template shows was not given.
        """
        return self._environment.get_template(template).render(values)

    def page(self, request: Request, template: str, *, status: int = 200, **values: object) -> HTMLResponse:
        """Return a page; it knows who is logged in."""
        login = getattr(request.state, "login", None)
        return HTMLResponse(self.text(template, login=login, **values), status_code=status)

    def error(self, request: Request, status: int, sentence: str | None = None) -> HTMLResponse:
        """Return an error's page: what to do and the request's number, nothing of what is inside."""
        return self.page(
            request,
            "error.html",
            status=status,
            title=HTTPStatus(status).phrase,
            code=status,
            sentence=sentence
            or SENTENCES.get(status, SENTENCES[400 if status < HTTPStatus.INTERNAL_SERVER_ERROR else 500]),
            request_id=getattr(request.state, "request_id", ""),
        )


def score_text(score: float | None) -> str:
    """Return a score in four digits, a dash where there is none."""
    return NO_VALUE if score is None else f"{score:.4g}"


def clock_text(at: datetime) -> str:
    """Return the time of day on the server's clock: the browser's may be wrong."""
    return f"{at.astimezone():%H:%M:%S}"


def day_text(at: datetime) -> str:
    """Return the day on the server's clock."""
    local = at.astimezone()
    return f"{local.day} {local:%b %Y}"


def moment_text(at: datetime) -> str:
    """Return day and time with the zone they are in."""
    local = at.astimezone()
    return f"{local.day} {local:%b %Y %H:%M:%S %Z}"


def iso_text(at: datetime) -> str:
    """Return a time as machines read it, in UTC."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def verdict_kind(verdict: str | None) -> str:
    """Return the class of a verdict's badge; `unknown` for a text that this version does not know."""
    if verdict is None:
        return "open"
    return verdict.lower() if verdict in list(Verdict) else "unknown"


def verdict_text(verdict: str | None) -> str:
    """Return what a verdict's badge says."""
    if verdict is None:
        return "OPEN"
    return verdict if verdict in list(Verdict) else f"unknown ({verdict})"


def finding_text(finding: str) -> str:
    """Return what a review found."""
    match finding:
        case Finding.GOOD:
            return "Good"
        case Finding.DEFECTIVE:
            return "Defective"
        case _:
            return f"unknown ({finding})"
