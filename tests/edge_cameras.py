"""Lines at whose edges things go wrong, with the truth burned into every frame.

Edges and frames carry the times that a test lays out, and are told of when they are due: what is matched
with what does not depend on how fast the machine is.
"""

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np

from partgate.line._digital_input import Edge
from partgate_cameras import CameraError, CameraUnavailable, Frame, FrameOutOfOrder, FrameTimeout, NoFrameYet
from partgate_cameras._frame import StrayFrame
from partgate_cameras._numbers import FrameNumbers, NumberNotRisen

SOON_S = 0.1


@dataclass
class EdgeInput:
    """A digital input with the edges of a list; a part's serial number is its number."""

    edges: list[Edge]

    @classmethod
    def regular(cls, first_s: float, period_s: float, parts: int) -> "EdgeInput":
        return cls(
            [
                Edge(at_s=first_s + part * period_s, at=datetime.now(UTC), serial_number=str(part))
                for part in range(parts)
            ]
        )

    def wait(self, timeout_s: float) -> Edge | None:
        if not self.edges:
            time.sleep(timeout_s)
            return None
        wait_s = self.edges[0].at_s - time.monotonic()
        time.sleep(max(0.0, min(wait_s, timeout_s)))
        return self.edges.pop(0) if wait_s <= timeout_s else None

    def close(self) -> None: ...


@dataclass
class OnItsWay:
    due_s: float
    number: int
    part: int
    error: CameraError | None = None
    exposed_s: float = 0.0
    back_s: float | None = None
    """Not a frame: the camera is lost, until then."""


@dataclass
class EdgeCamera:
    """A camera at a line's edge, in this process."""

    camera_id: str = "top"
    restarts: int = 0
    exhausted: bool = False
    flushes: int = 0
    exposed: int = 0
    on_their_way: deque[OnItsWay] = field(default_factory=deque)
    numbers: FrameNumbers = field(default_factory=FrameNumbers)

    def expose(
        self,
        part: int,
        at_s: float,
        delay_s: float = 0.0,
        *,
        lost: bool = False,
        twice: bool = False,
        error: CameraError | None = None,
    ) -> None:
        self.exposed += 1
        for _ in range(0 if lost else 1 + twice):
            self.on_their_way.append(OnItsWay(at_s + delay_s, self.exposed, part, error, at_s))

    def lose(self, at_s: float, back_s: float) -> None:
        """Be away from then to then; what comes after in the script is delivered afterwards."""
        self.on_their_way.append(OnItsWay(at_s, 0, 0, back_s=back_s))

    def open(self) -> None: ...

    def close(self) -> None: ...

    def grab(self, timeout_s: float) -> Frame:
        return self._next(timeout_s, FrameTimeout)

    def next_frame(self, timeout_s: float) -> Frame:
        return self._next(timeout_s, NoFrameYet)

    def flush(self, timeout_s: float) -> None:
        self.flushes += 1
        now_s = time.monotonic()
        self.on_their_way = deque(frame for frame in self.on_their_way if frame.exposed_s > now_s)
        self.numbers = FrameNumbers()

    def take_strays(self) -> Sequence[StrayFrame]:
        return ()

    def _next(self, timeout_s: float, missing: type[FrameTimeout]) -> Frame:
        now_s = time.monotonic()
        wait_s = self.on_their_way[0].due_s - now_s if self.on_their_way else timeout_s
        time.sleep(max(0.0, min(wait_s, timeout_s)))
        if not self.on_their_way or wait_s > timeout_s:
            raise missing(f"camera {self.camera_id}: none")
        if (back_s := self.on_their_way[0].back_s) is not None:
            if now_s < back_s:
                raise CameraUnavailable(f"camera {self.camera_id}: lost")
            self.on_their_way.popleft()
            self.restarts, self.numbers = self.restarts + 1, FrameNumbers()
            return self._next(timeout_s, missing)
        return self._delivered(self.on_their_way.popleft())

    def _delivered(self, frame: OnItsWay) -> Frame:
        try:
            lost = self.numbers.follow(frame.number)
        except NumberNotRisen as error:
            refused = FrameOutOfOrder(str(error))
            refused.arrived_s = frame.due_s
            raise refused from error
        if frame.error is not None:
            frame.error.arrived_s, frame.error.lost_before = frame.due_s, lost
            raise frame.error
        return Frame(
            image=np.full((12, 16), frame.part, np.uint8),
            camera_id=self.camera_id,
            frame_id=frame.number,
            camera_timestamp_ns=None,
            received_at=datetime.now(UTC),
            arrived_s=frame.due_s,
            lost_before=lost,
        )
