"""Frames from the line to the recorder's process without pickling: slots in shared memory.

The memory is a sealed memfd, as the cameras' (docs/decisions/0008): it has no name, so that nothing has to
be swept after a kill. The line keeps it when the recorder's process is killed: the next one reads the same
slots.
A slot is written again only after the recorder has said that its frame is on disk.
All pages are taken when the memory is made. Those that came one by one, whenever more slots were in use than
ever before, made the line grow long after its start, and who writes to a page that cannot be had is ended by
SIGBUS.

    slot:  | image, uint8 | padding to 64 | anomaly map, float32 |
"""

import fcntl
import math
import mmap
import os
from dataclasses import dataclass

import numpy as np

from partgate.records._parts import RecordedFrame

BUDGET_BYTES = 256 * 1024**2
MOST_SLOTS = 32
FEWEST_SLOTS = 2
ALIGNMENT = 64
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a frame lies, and how large its parts are."""

    slot: int
    image_shape: tuple[int, ...]
    map_shape: tuple[int, int] | None


class FrameMemory:
    """The line's side. Used by one thread.

    Args:
        slot_bytes: room for a frame and its map.
        frames: so many slots at least; more if they fit into a quarter of a gigabyte.

    Raises:
        MemoryError: the machine has no room for it.
    """

    def __init__(self, *, slot_bytes: int, frames: int) -> None:
        self.slot_bytes = -(-slot_bytes // mmap.PAGESIZE) * mmap.PAGESIZE
        affordable = min(MOST_SLOTS, BUDGET_BYTES // self.slot_bytes)
        self.slots = max(frames, affordable, FEWEST_SLOTS)
        self.descriptor = os.memfd_create("partgate-recorder", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            self._memory = _taken(self.descriptor, self.slots * self.slot_bytes)
        except OSError as error:
            os.close(self.descriptor)
            need_mb = self.slots * self.slot_bytes / 2**20
            raise MemoryError(
                f"{need_mb:.0f} MB for frames on their way to the disk: {error.strerror}"
            ) from error
        fcntl.fcntl(self.descriptor, fcntl.F_ADD_SEALS, _SEALS)
        self._free = list(range(self.slots))

    @property
    def idle(self) -> bool:
        """Whether no slot is taken."""
        return len(self._free) == self.slots

    def fits(self, frames: tuple[RecordedFrame, ...]) -> bool:
        """Return whether a part's frames have room here, once all slots are free."""
        return len(frames) <= self.slots and all(bytes_of(frame) <= self.slot_bytes for frame in frames)

    def place(self, frames: tuple[RecordedFrame, ...]) -> tuple[Place, ...] | None:
        """Copy a part's frames into slots; None where not enough are free."""
        if len(frames) > len(self._free):
            return None
        return tuple(self._placed(self._free.pop(), frame) for frame in frames)

    def give_back(self, places: tuple[Place, ...]) -> None:
        """Let the slots be written again."""
        self._free.extend(place.slot for place in places)

    def close(self) -> None:
        """Let go; the mapping goes with the last view of it."""
        os.close(self.descriptor)

    def _placed(self, slot: int, frame: RecordedFrame) -> Place:
        map_shape = None if frame.anomaly_map is None else frame.anomaly_map.shape
        place = Place(slot=slot, image_shape=frame.image.shape, map_shape=map_shape)
        image, anomaly_map = _views(self._memory, self.slot_bytes, place)
        image[...] = frame.image
        if anomaly_map is not None:
            anomaly_map[...] = frame.anomaly_map
        return place


class FrameMemoryReader:
    """The recorder's side: a mapping that cannot be written through.

    Args:
        descriptor: of the memory; taken over and closed.
        slot_bytes: as in the writer.
    """

    def __init__(self, descriptor: int, *, slot_bytes: int) -> None:
        try:
            size = os.fstat(descriptor).st_size
            self._memory = mmap.mmap(descriptor, size, prot=mmap.PROT_READ)
        finally:
            os.close(descriptor)
        self._slot_bytes = slot_bytes

    def views(self, place: Place) -> tuple[np.ndarray, np.ndarray | None]:
        """Return a frame's image and map: views, valid until the line is told that they are on disk."""
        return _views(self._memory, self._slot_bytes, place)


def bytes_of(frame: RecordedFrame) -> int:
    """Return how much of a slot a frame takes."""
    return _map_offset(frame.image.nbytes) + (0 if frame.anomaly_map is None else frame.anomaly_map.nbytes)


def _taken(descriptor: int, size: int) -> mmap.mmap:
    """Return a mapping all of whose pages are there; other threads run while they are brought."""
    os.posix_fallocate(descriptor, 0, size)
    memory = mmap.mmap(descriptor, size)  # MAP_POPULATE would hold Python's lock: 119 ms of 256 MB
    np.frombuffer(memory, np.uint8)[:: mmap.PAGESIZE] = 0
    return memory


def _map_offset(image_bytes: int) -> int:
    return -(-image_bytes // ALIGNMENT) * ALIGNMENT


def _views(memory: mmap.mmap, slot_bytes: int, place: Place) -> tuple[np.ndarray, np.ndarray | None]:
    start, count = place.slot * slot_bytes, math.prod(place.image_shape)
    image = np.frombuffer(memory, np.uint8, count, start).reshape(place.image_shape)
    if place.map_shape is None:
        return image, None
    offset = start + _map_offset(count)
    flat = np.frombuffer(memory, np.float32, math.prod(place.map_shape), offset)
    return image, flat.reshape(place.map_shape)
