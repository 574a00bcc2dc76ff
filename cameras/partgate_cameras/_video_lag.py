"""How long the frames of a live stream have waited on their way, by the stream's own times."""

from collections import deque

WINDOW_S = 60.0
"""How long the quickest way is remembered: clocks that differ by 0.1 % drift apart by 60 ms in it."""


class StreamLag:
    """Compares when frames arrive with when they were taken by the stream's clock, whose zero is its affair.

    The difference is smallest for a frame that waited nowhere. One whose difference is larger has waited, in
    the camera or on the network, by that much: after a stall the oldest of those that piled up comes first.
    """

    def __init__(self) -> None:
        self._least: deque[tuple[float, float]] = deque()  # (arrived, way), both rising
        self._last_time_s: float | None = None

    def of(self, arrived_s: float, time_s: float | None) -> float:
        """Return by how much a frame's way was longer than the quickest of the last minute, in seconds.

        Args:
            arrived_s: on any steady clock, rising from call to call.
            time_s: on the stream's; None where it has none: then nothing is known, and 0 returned.
        """
        if time_s is None:
            return 0.0
        last_s, self._last_time_s = self._last_time_s, time_s
        if last_s is not None and time_s < last_s:
            self._least.clear()  # the stream's clock was set: what piled up never goes back
        way_s = arrived_s - time_s
        while self._least and self._least[-1][1] >= way_s:
            self._least.pop()
        self._least.append((arrived_s, way_s))
        while self._least[0][0] < arrived_s - WINDOW_S:
            self._least.popleft()
        return way_s - self._least[0][1]
