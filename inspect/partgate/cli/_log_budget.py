"""How often the log says the same: a fault that meets every part must not fill a disk in the months it runs.

At 50 parts a second a line per part is 30 MB an hour. Each kind of line may come so many times in a window;
those beyond are counted, and the next that is shown says how many. Nothing is lost by that: what befell a
part is in its row and in the metrics.
"""

import logging
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any, Final

import structlog

LINES, WINDOW_S = 20, 60.0  # 20 kinds of 200 bytes each, all at once for an hour: 5 MB
KINDS = 256
NOT_SHOWN: Final = "not_shown"  # the name of the count in a line

# What tells one camera's line from another's. Of a reason, its code: the sentence has figures in it.
_TELLING = ("camera", "proof", "product", "station", "verdict", "reason")
_FIGURES = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|(?<![\w-])\d+(?:\.\d+)?")  # not that of `cam-1`


@dataclass(slots=True)
class _Kind:
    began_s: float
    shown: int = 0
    not_shown: int = 0


class LineBudget:
    """Counts lines by their kind. For any thread."""

    def __init__(
        self,
        *,
        lines: int = LINES,
        window_s: float = WINDOW_S,
        kinds: int = KINDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin with nothing said.

        Args:
            lines: of one kind in one window; those beyond are DROPPED and counted.
            window_s: begins with a kind's first line.
            kinds: that are remembered; the one not heard of for longest is FORGOTTEN, and its count with it.
            clock: in seconds, never going back.
        """
        self._lines, self._window_s, self._most, self._clock = lines, window_s, kinds, clock
        self._kinds: OrderedDict[str, _Kind] = OrderedDict()
        self._lock = threading.Lock()

    def admit(self, name: str) -> int | None:
        """Return how many lines of a kind were not shown before this one; None: nor may this be."""
        with self._lock:
            kind, now_s = self._known(name), self._clock()
            if now_s - kind.began_s >= self._window_s:
                kind.began_s, kind.shown = now_s, 0
            if kind.shown >= self._lines:
                kind.not_shown += 1
                return None
            kind.shown += 1
            before, kind.not_shown = kind.not_shown, 0
            return before

    def event(self, _logger: Any, _method: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """Pass a line of structlog's on, or drop it; one of its processors."""
        not_shown = self.admit(_kind_of(str(fields.get("event")), fields))
        if not_shown is None:
            raise structlog.DropEvent
        if not_shown:
            fields[NOT_SHOWN] = not_shown
        return fields

    def record(self, record: logging.LogRecord) -> bool:
        """Return whether a library's line may be shown; a filter of `logging`."""
        not_shown = self.admit(_kind_of(record.getMessage(), {}))
        if not_shown:
            record.msg, record.args = f"{record.getMessage()} ({not_shown} more like it were not shown)", ()
        return not_shown is not None

    def _known(self, name: str) -> _Kind:
        kind = self._kinds.get(name)
        if kind is None:
            kind = self._kinds[name] = _Kind(began_s=self._clock())
            if len(self._kinds) > self._most:
                self._kinds.popitem(last=False)
        self._kinds.move_to_end(name)
        return kind


def _kind_of(text: str, fields: Mapping[str, Any]) -> str:
    """Return what lines that differ in figures alone have in common."""
    telling = [str(fields.get(name) or "").partition(":")[0] for name in _TELLING]
    return "|".join((_FIGURES.sub("#", text), *telling))
