"""Everything the page of one part shows, read in one go."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, select
from sqlmodel import Session, col

from partgate.records import Frame, ImageState, Part, Recipe, Station
from partgate.review._queue import ReviewLine, reviews_of
from partgate.review._recipe_content import Limits, limits_in
from partgate.review._rows import row, rows, text_of
from partgate.review._worst_frame import worst_of


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameView:
    """A frame as the page shows it. `image_state` is the row's text, whatever it says."""

    id: uuid.UUID
    camera_id: str
    frame_id: int
    received_at: datetime
    height_px: int
    width_px: int
    score: float | None
    image_state: str
    image_sha256: str | None
    map_sha256: str | None
    map_box: Sequence[int] | None

    @property
    def kept(self) -> bool:
        """Whether the row names an image."""
        return self.image_state == ImageState.KEPT and self.image_sha256 is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class PartView:
    """A part with its frames, its thresholds and what people said of it, latest first."""

    id: uuid.UUID
    station_id: str
    station_name: str | None
    trigger_id: int
    triggered_at: datetime
    serial_number: str | None
    product: str | None
    model_id: str | None
    runtime: str | None
    verdict: str | None
    reason: str | None
    score: float | None
    latency_ms: float | None
    signal_state: str | None
    recipe_version: int | None
    limits: Limits | None
    content: Mapping[str, Any] | None
    """Of that recipe, as it is stored."""
    frames: tuple[FrameView, ...] = ()
    reviews: tuple[ReviewLine, ...] = ()

    @property
    def decisive(self) -> int:
        """The position of the frame whose score the part has; 0 where no frame has one."""
        return worst_of([frame.score for frame in self.frames])


def part_view(session: Session, part_id: uuid.UUID) -> PartView | None:
    """Return a part, None if there is no such part."""
    query: Select[*tuple[Any, ...]] = (
        select(
            col(Part.id),
            col(Part.station_id),
            col(Station.name).label("station_name"),
            col(Part.trigger_id),
            col(Part.triggered_at),
            col(Part.serial_number),
            col(Part.product),
            col(Part.model_id),
            col(Part.runtime),
            text_of(Part.verdict),
            col(Part.reason),
            col(Part.score),
            col(Part.latency_ms),
            text_of(Part.signal_state),
            col(Recipe.version).label("recipe_version"),
            col(Recipe.content).label("content"),
        )
        .join(Station, col(Station.id) == col(Part.station_id), isouter=True)
        .join(Recipe, col(Recipe.id) == col(Part.recipe_id), isouter=True)
        .where(col(Part.id) == part_id)
    )
    found = row(session, query)
    if found is None:
        return None
    values = dict(found)
    content = values.pop("content")
    return PartView(
        **values,
        limits=limits_in(content),
        content=content,
        frames=frames_of(session, part_id),
        reviews=tuple(reviews_of(session, [part_id])),
    )


def frames_of(session: Session, part_id: uuid.UUID) -> tuple[FrameView, ...]:
    """Return a part's frames in the order they were recorded."""
    query: Select[*tuple[Any, ...]] = (
        select(
            col(Frame.id),
            col(Frame.camera_id),
            col(Frame.frame_id),
            col(Frame.received_at),
            col(Frame.height_px),
            col(Frame.width_px),
            col(Frame.score),
            text_of(Frame.image_state),
            col(Frame.image_sha256),
            col(Frame.map_sha256),
            col(Frame.map_box),
        )
        .where(col(Frame.part_id) == part_id)
        .order_by(col(Frame.id))
    )
    return tuple(FrameView(**frame) for frame in rows(session, query))
