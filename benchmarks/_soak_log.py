"""What a station's log says, as it says it: what was lost, what is back, whether the station is ready."""

import json
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO

KEPT = 20_000
NOISE = frozenset({"no frame", "frames come again"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """A line of the log."""

    at_s: float
    """Seconds of the wall clock, which station and soak share."""

    event: str
    fields: dict[str, Any]


class StationLog:
    """Reads a station's log in a thread of its own, and keeps it in a file."""

    def __init__(self, lines: TextIO, path: Path, *, station_id: str) -> None:
        self._lines, self._path, self._station_id = lines, path, station_id
        self._said: deque[Said] = deque(maxlen=KEPT)
        self._changed = threading.Condition()
        self.is_ready = False
        self.unread: deque[str] = deque(maxlen=20)
        """The last lines that were no JSON: what a process said that died."""
        self._thread = threading.Thread(target=self._read, name="soak-log", daemon=True)
        self._thread.start()

    def wait_for(self, found: Callable[[Said], bool], *, since_s: float, timeout_s: float) -> Said | None:
        """Return the first line since a moment that is wanted; None if none comes in time."""
        with self._changed:
            self._changed.wait_for(lambda: self._first(found, since_s) is not None, timeout_s)
            return self._first(found, since_s)

    def wait_ready(self, timeout_s: float) -> bool:
        """Wait until the station is ready; return whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: self.is_ready, timeout_s)

    def since(self, since_s: float) -> list[Said]:
        """Return what was said since a moment."""
        with self._changed:
            return [said for said in self._said if said.at_s >= since_s]

    def join(self) -> None:
        """Wait until the station has closed its log."""
        self._thread.join(10)

    def _first(self, found: Callable[[Said], bool], since_s: float) -> Said | None:
        return next((said for said in self._said if said.at_s >= since_s and found(said)), None)

    def _read(self) -> None:
        with self._path.open("w") as kept:
            for line in self._lines:
                kept.write(line)
                self._note(line)

    def _note(self, line: str) -> None:
        try:
            fields = json.loads(line)
            event = fields.pop("event")
            at_s = datetime.fromisoformat(fields.pop("timestamp")).timestamp()
        except (ValueError, KeyError, TypeError, AttributeError):
            self.unread.append(line.rstrip())
            return
        if fields.get("station", self._station_id) != self._station_id:
            return
        with self._changed:
            if event in {"station ready", "station not ready"}:
                self.is_ready = event == "station ready"
            if event not in NOISE:
                self._said.append(Said(at_s=at_s, event=event, fields=fields))
            self._changed.notify_all()
