"""What a camera's process does between two requests and with each of them."""

import contextlib
import logging
import time
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from partgate_cameras import _messages as wire
from partgate_cameras._errors import CameraError, NoFrameYet
from partgate_cameras._frame import Camera, Frame, Provident, StrayFrame
from partgate_cameras._frame_checks import FrameChecks
from partgate_cameras._image_measures import measure_image, sketch_to_text
from partgate_cameras._order import Order
from partgate_cameras._ring import RingWriter
from partgate_station import PartgateError

LOOK_UP_S = 1.0
SHORTEST_GRAB_S = 0.001


class Sender(Protocol):
    """The way to the station."""

    def send(self, message: wire.Message, *descriptors: int) -> None:
        """Send a message, and descriptors with it."""


@runtime_checkable
class Attentive(Protocol):
    """A camera that has to be looked at also while nobody asks it for a frame."""

    @property
    def look_every_s(self) -> float | None:
        """How often; None: never."""

    def look(self) -> None:
        """Take in what has come."""

    def next_frame(self, timeout_s: float) -> Frame:
        """Return the oldest that came by itself."""

    def flush(self) -> None:
        """Drop what came and what is on its way."""

    def take_strays(self) -> Sequence[StrayFrame]:
        """Return what was dropped."""


class Desk:
    """Takes requests, hands out frames. Used by the main thread, which owns the camera."""

    def __init__(self, camera: Camera, order: Order, link: Sender) -> None:
        self._camera, self._link = camera, link
        self._checks = FrameChecks(
            order.config.camera_id,
            frozen_after=order.frozen_after,
            shape=order.shape,
            one_size=order.one_size,
            follow_numbers=not isinstance(camera, Attentive),
            refuse_blank=order.one_size,
        )
        self._ring: RingWriter | None = None

    @property
    def look_every_s(self) -> float:
        """How long to wait for a request before the camera is looked at."""
        every_s = self._camera.look_every_s if isinstance(self._camera, Attentive) else None
        return LOOK_UP_S if every_s is None else every_s

    def look(self) -> None:
        """Let the camera take in what has come while nobody asked."""
        if isinstance(self._camera, Attentive) and self._camera.look_every_s is not None:
            # What is wrong with the camera, the next request is told.
            with contextlib.suppress(CameraError):
                self._camera.look()
            self._send_strays()

    def prepare(self) -> None:
        """Have the next frame read while the last one is judged."""
        if isinstance(self._camera, Provident):
            self._camera.prepare()

    def answer(self, request: wire.Grab) -> None:
        """Grab the request's frame and send it, or what was in the way."""
        try:
            frame = self._taken(request)
            try:
                self._checks.check(frame, None if self._ring is None else self._ring.newest)
            except CameraError as error:
                error.arrived_s, error.lost_before = frame.arrived_s, frame.lost_before
                raise
            self._deliver(frame, request)
        except PartgateError as error:
            self._refuse(request, error)
        except Exception as error:
            logging.getLogger(__name__).exception("camera %s failed", self._camera.camera_id)
            self._refuse(request, error)
        self._send_strays()

    def _taken(self, request: wire.Grab) -> Frame:
        timeout_s = max(SHORTEST_GRAB_S, request.deadline_s - time.monotonic())
        if request.kind == "grab" or not isinstance(self._camera, Attentive):
            return self._camera.grab(timeout_s)
        if request.kind == "flush":
            self._camera.flush()
            raise NoFrameYet(f"camera {self._camera.camera_id}: flushed")
        return self._camera.next_frame(timeout_s)

    def _send_strays(self) -> None:
        strays = self._camera.take_strays() if isinstance(self._camera, Attentive) else ()
        for stray in strays:
            self._link.send(
                wire.Stray(
                    frame_id=stray.frame_id,
                    camera_timestamp_ns=stray.camera_timestamp_ns,
                    received_at=stray.received_at.isoformat(),
                    why=stray.why,
                )
            )

    def _refuse(self, request: wire.Grab, error: Exception) -> None:
        self._link.send(
            wire.NotDelivered(
                number=request.number,
                error=type(error).__name__,
                text=str(error),
                exhausted=self._camera.exhausted,
                arrived_s=getattr(error, "arrived_s", None),
                lost_before=getattr(error, "lost_before", 0),
            )
        )

    def _deliver(self, frame: Frame, request: wire.Grab) -> None:
        old = self._ring
        ring = old if old is not None and old.fits(frame.image) else RingWriter(frame.image.nbytes)
        self._ring = ring
        place = ring.write(frame.image, sequence=request.number, released=request.released)
        measures = measure_image(frame.image)
        delivered = wire.Delivered(
            number=request.number,
            slot=place.slot,
            shape=place.shape,
            frame_id=frame.frame_id,
            camera_timestamp_ns=frame.camera_timestamp_ns,
            received_at=frame.received_at.isoformat(),
            arrived_s=frame.arrived_s,
            lost_before=frame.lost_before,
            exhausted=self._camera.exhausted,
            new_ring=ring is not old,
            brightness=measures.brightness,
            focus=measures.focus,
            colour=measures.colour,
            sketch=None if measures.sketch is None else sketch_to_text(measures.sketch),
        )
        self._link.send(delivered, *([ring.descriptor] if ring is not old else []))
        if ring is not old and old is not None:
            old.close()
