"""The pictures of a frame, found by its row: no address holds a path or a file's name.

No session of the database is open while a picture is read and encoded.
"""

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from fastapi import APIRouter, Depends, HTTPException
from sqlalchemy import Select, select
from sqlmodel import Session, col
from starlette.responses import Response

from partgate.records import Frame, Part, Recipe, StoreError
from partgate.review._overlay import Placement
from partgate.review._recipe_content import inspected_box, limits_in, noted_box
from partgate.review._rows import row
from partgate.review._site import Site, SiteDep, login_of

log = structlog.get_logger(__name__)
router = APIRouter(prefix="/frames/{frame_id}", dependencies=[Depends(login_of)])

# A frame's row and the file its hash names never change.
KEEP = {"cache-control": "private, max-age=31536000, immutable"}


@router.get("/image.png")
def image(site: SiteDep, frame_id: uuid.UUID) -> Response:
    """Return a frame's image with every pixel as the camera gave it."""
    sha256 = _known(site, frame_id).image_sha256
    return _picture(sha256, "image/png", site.pictures.full)


@router.get("/thumbnail.jpg")
def thumbnail(site: SiteDep, frame_id: uuid.UUID) -> Response:
    """Return a frame's image, small."""
    sha256 = _known(site, frame_id).image_sha256
    return _picture(sha256, "image/jpeg", site.pictures.thumbnail)


@router.get("/map.png")
def anomaly_map(site: SiteDep, frame_id: uuid.UUID) -> Response:
    """Return a frame's anomaly map, coloured by the thresholds it was judged with."""
    row = _known(site, frame_id)
    return _picture(
        row.map_sha256, "image/png", lambda sha256: site.pictures.overlay(sha256, _placement(row))
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _FrameRow:
    camera_id: str
    height_px: int
    width_px: int
    image_sha256: str | None
    map_sha256: str | None
    map_box: Sequence[int] | None
    content: Mapping[str, Any] | None


def _known(site: Site, frame_id: uuid.UUID) -> _FrameRow:
    with site.database.read() as session:
        known = _frame_row(session, frame_id)
    if known is None:
        raise HTTPException(404)
    return known


def _frame_row(session: Session, frame_id: uuid.UUID) -> _FrameRow | None:
    query: Select[*tuple[Any, ...]] = (
        select(
            col(Frame.camera_id),
            col(Frame.height_px),
            col(Frame.width_px),
            col(Frame.image_sha256),
            col(Frame.map_sha256),
            col(Frame.map_box),
            col(Recipe.content).label("content"),
        )
        .join(Part, col(Part.id) == col(Frame.part_id))
        .join(Recipe, col(Recipe.id) == col(Part.recipe_id), isouter=True)
        .where(col(Frame.id) == frame_id)
    )
    found = row(session, query)
    return None if found is None else _FrameRow(**found)


def _placement(known: _FrameRow) -> Placement:
    width_px, height_px = known.width_px, known.height_px
    box = noted_box(known.map_box) or inspected_box(
        known.content, known.camera_id, width_px=width_px, height_px=height_px
    )
    return Placement(width_px=width_px, height_px=height_px, box=box, limits=limits_in(known.content))


def _picture(sha256: str | None, media_type: str, render: Callable[[str], bytes]) -> Response:
    if sha256 is None:
        raise HTTPException(404)
    try:
        return Response(render(sha256), media_type=media_type, headers=KEEP)
    except StoreError as error:
        log.warning("picture not shown", sha256=sha256, error=str(error))
        raise HTTPException(404) from error
