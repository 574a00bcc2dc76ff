"""The list of parts and the page on which one is decided."""

import uuid
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, HTTPException, Query
from sqlmodel import Session
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from partgate.records import Finding, StoreError
from partgate.review._decide import MAX_NOTE_LENGTH, Decision, Outcome, clean_note, decide
from partgate.review._filter import Filter, PartQuery, QueueQuery
from partgate.review._gauge import gauge
from partgate.review._logins import WRITE_TIMEOUT_S, Login
from partgate.review._part_page import FrameView, PartView, part_view
from partgate.review._queue import (
    neighbour,
    newest_open,
    next_open,
    part_key,
    products,
    queue_page,
)
from partgate.review._recipe_content import inspected_box, named_regions, noted_box
from partgate.review._site import LoginDep, Site, SiteDep, form_of_this_login
from partgate.review._worst_region import worst_region

router = APIRouter()


@router.get("/")
def queue(
    request: Request, site: SiteDep, login: LoginDep, query: Annotated[QueueQuery, Query()]
) -> Response:
    """Show the parts of a choice, newest first."""
    busy = site.desks.of_others(login.form_token)
    with site.database.read() as session:
        for anchor in (query.before, query.after):
            if anchor is not None and part_key(session, anchor) is None:
                raise HTTPException(404)
        page = queue_page(session, query, before=query.before, after=query.after)
        newest = newest_open(session, query)
        values: dict[str, Any] = {
            "ledger": site.ledger.count(session),
            "page": page,
            "products": products(session),
            "left": site.left.text(session, query),
            "newest": newest,
            "first": newest_open(session, query, busy=busy) if newest in busy else newest,
            "done": _done(session, query.done),
        }
    return site.pages.page(request, "queue.html", choice=query, **values)


@router.get("/waiting")
def waiting(site: SiteDep, login: LoginDep, query: Annotated[Filter, Query()]) -> Response:
    """Say how many parts of a choice wait for a review, for a list that lies open."""
    del login
    with site.database.read() as session:
        left = site.left.text(session, query)
        # Where none is left, finding that out again would take as long as counting.
        newest = None if left == "0" else newest_open(session, query)
    return JSONResponse({"left": left, "newest": str(newest) if newest else None})


@router.get("/parts/{part_id}")
def part_page(
    request: Request, site: SiteDep, login: LoginDep, part_id: uuid.UUID, query: Annotated[PartQuery, Query()]
) -> Response:
    """Show one part, large."""
    return _show(request, site, login, part_id, query)


@router.post("/parts/{part_id}/review", dependencies=[Depends(form_of_this_login)])
def review_part(
    request: Request,
    site: SiteDep,
    login: LoginDep,
    *,
    part_id: uuid.UUID,
    query: Annotated[PartQuery, Query()],
    finding: Annotated[Finding, Form()],
    note: Annotated[str, Form(max_length=2 * MAX_NOTE_LENGTH)] = "",
    seen: Annotated[str, Form(max_length=36)] = "",
) -> Response:
    """Write down what a person found a part to be and go on to the next."""
    decision = Decision(
        part_id=part_id,
        finding=finding,
        note=_checked_note(note),
        reviewer_id=login.user_id,
        reviewer=login.name,
        seen=_uuid_or_none(seen),
    )
    outcome = site.database.write(lambda session: decide(session, decision)).result(timeout=WRITE_TIMEOUT_S)
    match outcome:
        case Outcome.ADDED | Outcome.REPEATED:
            return RedirectResponse(_next_address(site, login, part_id, query), 303)
        case Outcome.OVERTAKEN:
            return _show(request, site, login, part_id, query, note=decision.note, status=409)
        case Outcome.NOT_JUDGED_YET:
            raise HTTPException(409)
        case Outcome.NO_SUCH_PART:
            raise HTTPException(404)


def _show(
    request: Request,
    site: Site,
    login: Login,
    part_id: uuid.UUID,
    query: PartQuery,
    *,
    note: str = "",
    status: int = 200,
) -> Response:
    with site.database.read() as session:
        part = part_view(session, part_id)
        if part is None:
            raise HTTPException(404)
        site.desks.note(login.form_token, part_id)
        following = next_open(session, query, part_id, busy=site.desks.of_others(login.form_token))
        values: dict[str, Any] = {
            "ledger": site.ledger.count(session),
            "left": site.left.text(session, query),
            "older": neighbour(session, query, part_id, upwards=False),
            "newer": neighbour(session, query, part_id, upwards=True),
            "ahead": _frames_ahead(session, following if following != part_id else None),
            "done": _done(session, query.done),
        }
    position = part.decisive if query.frame is None else query.frame
    frame = part.frames[position] if position < len(part.frames) else None
    return site.pages.page(
        request,
        "part.html",
        status=status,
        part=part,
        frame=frame,
        position=position,
        has_file=frame is not None and _has_file(site, frame),
        has_map=frame is not None and _has_map(site, frame),
        worst_region=None if frame is None else _worst_region(site, part, frame),
        gauge=None if part.limits is None else gauge(part.score, part.limits),
        choice=query,
        note=note,
        max_note_length=MAX_NOTE_LENGTH,
        overtaken=status == 409,  # noqa: PLR2004 - the status says it
        **values,
    )


def _has_file(site: Site, frame: FrameView) -> bool:
    return frame.kept and frame.image_sha256 is not None and site.images.has(frame.image_sha256)


def _has_map(site: Site, frame: FrameView) -> bool:
    return _has_file(site, frame) and frame.map_sha256 is not None and site.images.has(frame.map_sha256)


def _worst_region(site: Site, part: PartView, frame: FrameView) -> str | None:
    named = [region for region in named_regions(part.content) if region.camera_id in {None, frame.camera_id}]
    if not named or frame.map_sha256 is None:
        return None
    usual = inspected_box(part.content, frame.camera_id, width_px=frame.width_px, height_px=frame.height_px)
    if (noted_box(frame.map_box) or usual) != usual:
        return None  # the part was aligned: its regions are where they lie on the one that was taught
    try:
        return worst_region(site.images.get_map(frame.map_sha256), usual, named)
    except StoreError:
        return None


def _frames_ahead(session: Session, part_id: uuid.UUID | None) -> list[FrameView]:
    """Return the frame that the part's page will show, for the browser to fetch in good time."""
    part = None if part_id is None else part_view(session, part_id)
    if part is None or not part.frames:
        return []
    shown = part.frames[part.decisive]
    return [shown] if shown.kept else []


def _done(session: Session, part_id: uuid.UUID | None) -> PartView | None:
    part = None if part_id is None else part_view(session, part_id)
    return part if part is not None and part.reviews else None


def _next_address(site: Site, login: Login, part_id: uuid.UUID, query: PartQuery) -> str:
    with site.database.read() as session:
        following = next_open(session, query, part_id, busy=site.desks.of_others(login.form_token))
    if following is not None:
        # Already here: who decides at the same moment must not be led to it as well.
        site.desks.note(login.form_token, following)
    more = query.query(done=part_id)
    return f"/parts/{following}{more}" if following is not None else f"/{more}"


def _checked_note(note: str) -> str:
    cleaned = clean_note(note)
    if len(cleaned) > MAX_NOTE_LENGTH:
        raise HTTPException(422)
    return cleaned


def _uuid_or_none(text: str) -> uuid.UUID | None:
    if not text:
        return None
    try:
        return uuid.UUID(text)
    except ValueError:
        raise HTTPException(422) from None
