"""Parts' images, then their rows: many parts to one wait for the disk."""

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Literal, TypeVar

import structlog
from sqlmodel import Session

from partgate.records._database import Database
from partgate.records._errors import ConstraintViolated, PartNotOpen, StoreBusy, StoreClosed, StoreError
from partgate.records._image_counts import ImageCounts
from partgate.records._images import AnomalyMap, Image, ImageStore
from partgate.records._parts import (
    ClosedPart,
    OpenPart,
    RecordedFrame,
    StoredFrame,
    StoredPart,
    close_open,
    insert_open,
)
from partgate.records._room import ImageRoom, Keeping
from partgate.records._tables import ImageState
from partgate_station import Verdict

T = TypeVar("T")
Keep = Literal["all", "flagged"]

RETRY_S = 0.5
PATIENCE_S = 1.0  # a row takes some milliseconds

log = structlog.get_logger(__name__)


class PartWriter:
    """Writes batches of parts. Used by one thread; `give_up_after` by any.

    Args:
        database: its writing thread commits.
        images: where frames and maps are kept.
        station_id: of the parts.
        keep: `flagged` keeps no frames of accepted parts.
        room: asked before every batch whose images there is room for; None: for all.
        on_trouble: told why rows are not written for now, and None once they are; in the thread that writes.
    """

    def __init__(
        self,
        database: Database,
        images: ImageStore,
        *,
        station_id: str,
        keep: Keep,
        room: ImageRoom | None = None,
        on_trouble: Callable[[str | None], None] = lambda why: None,
    ) -> None:
        self._database, self._images = database, images
        self._station_id, self._keep, self._room = station_id, keep, room
        self._on_trouble = on_trouble
        self._trouble: str | None = None
        self._give_up_at: float | None = None
        self._counts = ImageCounts()

    def give_up_after(self, timeout_s: float) -> None:
        """Wait no longer than this for records that cannot be written."""
        self._give_up_at = time.monotonic() + timeout_s

    def take_counts(self) -> ImageCounts:
        """Return what became of images that are not kept since this was last called."""
        counts, self._counts = self._counts, ImageCounts()
        return counts

    def write(
        self,
        opened: Sequence[OpenPart],
        closed: Sequence[ClosedPart],
        *,
        again: AbstractSet[uuid.UUID] = frozenset(),
        images_lost: AbstractSet[uuid.UUID] = frozenset(),
    ) -> Mapping[uuid.UUID, StoreError]:
        """Write rows of parts that were opened and of parts that were closed, in one transaction.

        Images are on disk before the rows that name them. What is in the way of all rows is waited for, a
        full disk as well as a database that is damaged: the verdicts have left, and a person may mend it.

        Args:
            opened: rows that are there already are left alone.
            closed: with pixels that do not change until this returns.
            again: parts that may have been closed before: well if they are.
            images_lost: parts whose frames are not to be looked at.

        Returns:
            By the part's id what could not be written.

        Raises:
            StoreError: nothing could be written; after `give_up_after` only.
        """
        return self._commit(opened, self._stored(closed, images_lost), again=again)

    def _commit(
        self, opened: Sequence[OpenPart], closed: Sequence[StoredPart], *, again: AbstractSet[uuid.UUID]
    ) -> Mapping[uuid.UUID, StoreError]:
        def act(session: Session) -> list[uuid.UUID]:
            insert_open(session, self._station_id, opened)
            return close_open(session, closed)

        try:
            not_open, tried_before = self._until_written(act)
        except ConstraintViolated as error:
            if len(opened) + len(closed) == 1:
                return dict.fromkeys((*_ids_opened(opened), *_ids_closed(closed)), error)
            return self._one_by_one(opened, closed, again=again)
        if tried_before:
            return {}
        return {part_id: _not_open(part_id) for part_id in not_open if part_id not in again}

    def _one_by_one(
        self, opened: Sequence[OpenPart], closed: Sequence[StoredPart], *, again: AbstractSet[uuid.UUID]
    ) -> Mapping[uuid.UUID, StoreError]:
        """Write what can be written: one row that breaks a rule must not take the others with it."""
        errors: dict[uuid.UUID, StoreError] = {}
        for part in opened:
            errors |= self._commit([part], [], again=again)
        for stored in closed:
            errors |= self._commit([], [stored], again=again)
        return errors

    def _until_written(self, act: Callable[[Session], T]) -> tuple[T, bool]:
        """Return what the act returned, and whether it may have been committed by an attempt before.

        A commit that reported an error may have reached the disk all the same.
        """
        tried_before = False
        while True:
            try:
                written = self._written(act)
            except (ConstraintViolated, StoreClosed):
                raise  # of these rows alone, or for good
            except StoreError as error:
                if self._gives_up():
                    raise
                log.warning("rows not written yet", error=str(error))
                self._tell(str(error))
                time.sleep(RETRY_S)
                tried_before = True
            else:
                self._tell(None)
                return written, tried_before

    def _written(self, act: Callable[[Session], T]) -> T:
        started_s = time.monotonic()
        done = self._database.write(act)
        while True:
            try:
                return done.result(RETRY_S)
            except TimeoutError:
                if self._gives_up():
                    raise StoreBusy("the rows were still waiting when the recorder closed") from None
                if time.monotonic() - started_s > PATIENCE_S:
                    self._tell("rows wait for the database: another process holds it, or the disk is slow")

    def _tell(self, why: str | None) -> None:
        if why != self._trouble:
            self._trouble = why
            self._on_trouble(why)

    def _gives_up(self) -> bool:
        return self._give_up_at is not None and time.monotonic() >= self._give_up_at

    def _stored(self, parts: Sequence[ClosedPart], images_lost: AbstractSet[uuid.UUID]) -> list[StoredPart]:
        room = Keeping.ALL if self._room is None else self._room.look()
        wanted = [part for part in parts if keeps(self._keep, part)]
        kept = [part for part in wanted if keeps(room, part)]
        readable = [frame for part in kept if part.part_id not in images_lost for frame in part.frames]
        mapped = [frame for frame in readable if frame.anomaly_map is not None]
        stored = self._images.put_all(
            [_pixels(frame) for frame in readable], [_map(frame) for frame in mapped]
        )
        found = _Found(
            kept={id(frame) for part in kept for frame in part.frames},
            images={id(frame): file for frame, file in zip(readable, stored, strict=False)},
            maps={id(frame): file for frame, file in zip(mapped, stored[len(readable) :], strict=True)},
        )
        outcomes = [
            StoredPart(part=part, frames=tuple(found.outcome(part, frame) for frame in part.frames))
            for part in parts
        ]
        self._counts += ImageCounts(
            no_room=sum(len(part.frames) for part in wanted) - sum(len(part.frames) for part in kept),
            lost=sum(frame.state is ImageState.LOST for one in outcomes for frame in one.frames),
        )
        return outcomes


def keeps(keep: Keep | Keeping, part: ClosedPart) -> bool:
    """Return whether a part's frames are kept."""
    return keep == "all" or (keep == "flagged" and part.verdict is not Verdict.ACCEPT)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What became of frames, by their identity."""

    kept: AbstractSet[int]
    images: Mapping[int, str | Exception]
    maps: Mapping[int, str | Exception]

    def outcome(self, part: ClosedPart, frame: RecordedFrame) -> StoredFrame:
        """Say what became of a frame: whatever befalls an image, its part's row must be closed."""
        if id(frame) not in self.kept:
            return StoredFrame(state=ImageState.NOT_KEPT)
        image, anomaly_map = self.images.get(id(frame)), self.maps.get(id(frame))
        if isinstance(image, str) and not isinstance(anomaly_map, Exception):
            return StoredFrame(state=ImageState.KEPT, image_sha256=image, map_sha256=anomaly_map)
        why = anomaly_map if isinstance(image, str) else image
        log.error("image lost", part=str(part.part_id), camera=frame.camera_id, error=str(why))
        return StoredFrame(state=ImageState.LOST)


def _ids_opened(parts: Sequence[OpenPart]) -> list[uuid.UUID]:
    return [part.part_id for part in parts]


def _ids_closed(parts: Sequence[StoredPart]) -> list[uuid.UUID]:
    return [stored.part.part_id for stored in parts]


def _not_open(part_id: uuid.UUID) -> PartNotOpen:
    return PartNotOpen(f"part {part_id} is not open: it was never opened, or is closed already")


def _pixels(frame: RecordedFrame) -> Image:
    """Return a frame's pixels as the image store takes them: grey without a channel's axis."""
    return frame.image[..., 0] if frame.image.shape[2:] == (1,) else frame.image


def _map(frame: RecordedFrame) -> AnomalyMap:
    if frame.anomaly_map is None:
        raise ValueError(f"frame {frame.frame_id} of camera {frame.camera_id} has no map")
    return frame.anomaly_map
