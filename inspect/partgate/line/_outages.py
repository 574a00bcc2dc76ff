"""That a camera gives no frames, said when it begins and when it is over: not with every part of it."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Outage:
    since_s: float
    why: type[Exception]
    parts: int = 0


class Outages:
    """What the log says of parts without a frame, by camera. Used by the thread that takes parts in.

    Every such part has its row and its reason; a line for each would be 180,000 an hour at 50 parts a second.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin with every camera well; `clock` gives seconds and never goes back."""
        self._clock = clock
        self._outages: dict[str, _Outage] = {}

    def missed(self, camera_id: str, error: Exception) -> None:
        """Count a part without its frame; say so if it is the first, or if there is another reason."""
        outage = self._outages.get(camera_id)
        if outage is None or outage.why is not type(error):
            log.warning("no frame", camera=camera_id, error=str(error))
        if outage is None:
            outage = self._outages[camera_id] = _Outage(since_s=self._clock(), why=type(error))
        outage.why = type(error)
        outage.parts += 1

    def arrived(self, camera_id: str) -> None:
        """Note a frame: it ends an outage. Of one of a single part all has been said."""
        outage = self._outages.pop(camera_id, None)
        if outage is not None and outage.parts > 1:
            log.warning("frames come again", camera=camera_id, **self._told(outage))

    def finish(self) -> None:
        """Say which outages are not over when the line stops."""
        for camera_id, outage in self._outages.items():
            log.warning("no frames to the end", camera=camera_id, **self._told(outage))
        self._outages.clear()

    def _told(self, outage: _Outage) -> dict[str, float]:
        return {"parts": outage.parts, "for_s": round(self._clock() - outage.since_s, 1)}
