"""A bounded queue that is emptied in batches and can be closed."""

import threading
from collections import deque
from typing import Generic, Literal, TypeVar

T = TypeVar("T")

WAKE_S = 1.0


class QueueClosed(Exception):
    """Nothing more may be put in."""


class QueueFull(Exception):
    """No place became free in time."""


class BoundedQueue(Generic[T]):
    """At most `capacity` items, in order, from many threads to one.

    Args:
        capacity: the number of items that may wait.
        overflow: what happens to an item that has no place. `block`: its thread waits.
    """

    def __init__(self, capacity: int, *, overflow: Literal["block"]) -> None:
        self._capacity = capacity
        self._overflow = overflow
        self._items: deque[T] = deque()
        self._closed = False
        self._changed = threading.Condition()

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: T, *, timeout_s: float) -> None:
        """Append an item, waiting for a place.

        Raises:
            QueueFull: there was none in time.
            QueueClosed: nothing may be put in any more.
        """
        with self._changed:
            if not self._changed.wait_for(
                lambda: self._closed or len(self._items) < self._capacity, timeout_s
            ):
                raise QueueFull
            if self._closed:
                raise QueueClosed
            self._items.append(item)
            self._changed.notify_all()

    def take(self, limit: int) -> list[T]:
        """Remove and return up to `limit` items, waiting for the first; empty once closed and drained."""
        with self._changed:
            while not self._items and not self._closed:
                self._changed.wait(WAKE_S)
            taken = [self._items.popleft() for _ in range(min(limit, len(self._items)))]
            self._changed.notify_all()
            return taken

    def close(self) -> None:
        """Let nothing more in; what waits is still taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
