"""Frames from one process to another without pickling: slots in shared memory.

The memory is a memfd: it has no name, so that nothing has to be swept after a kill; it goes with the
last process that holds it; and unlike /dev/shm its size is not bounded by a container's 64 MB. It is
sealed before it is handed over, so that the reader's mapping cannot be cut from under it (a mapping
whose file shrinks ends the reader with SIGBUS).

    slot:  | sequence, written before the pixels | sequence, written after them | pixels ... |

A slot is written again only when its reader has given it back, and never while it holds the newest
frame: that one is kept to be compared with the next. Both sequence numbers must be the announced one
before and after the reader's copy; a slot that was written meanwhile is refused, never judged.
"""

import fcntl
import math
import mmap
import os
import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partgate_cameras._errors import CameraError, FrameOutOfOrder

SLOTS = 3  # the newest, one whose reader came too late to take it, one to write into
HEADER = struct.Struct("<QQ")
HEADER_BYTES = 64  # a cache line, so that the pixels are aligned
MAX_SLOT_BYTES = 512 * 1024**2
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL

Image = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where in a ring a frame lies."""

    sequence: int
    """Of the frame, > 0 and rising."""

    slot: int
    shape: tuple[int, ...]


class RingWriter:
    """The camera's side: makes the memory and writes into it. Used by one thread."""

    def __init__(self, slot_bytes: int, *, slots: int = SLOTS) -> None:
        """Make a ring.

        Args:
            slot_bytes: room for one frame's pixels; rounded up to whole pages.
            slots: >= 2. When none is free, the frame is refused, and never one overwritten.
        """
        self.slot_bytes = _whole_pages(HEADER_BYTES + slot_bytes) - HEADER_BYTES
        self._stride = HEADER_BYTES + self.slot_bytes
        self.descriptor = os.memfd_create("partgate-frames", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(self.descriptor, slots * self._stride)
        fcntl.fcntl(self.descriptor, fcntl.F_ADD_SEALS, _SEALS)
        self._memory = mmap.mmap(self.descriptor, slots * self._stride)
        self._sequences = [0] * slots
        self._newest: Place | None = None

    @property
    def newest(self) -> Image | None:
        """The frame written last: a view, valid until the next but one `write`."""
        return None if self._newest is None else self._pixels(self._newest.slot, self._newest.shape)

    def fits(self, image: Image) -> bool:
        """Return whether a slot has room for the image."""
        return image.nbytes <= self.slot_bytes

    def write(self, image: Image, *, sequence: int, released: int) -> Place:
        """Copy an image into a free slot.

        Args:
            image: (h, w) or (h, w, 3) uint8 that `fits`.
            sequence: above all that were written before.
            released: the reader has taken or given up all frames up to this sequence.

        Raises:
            CameraError: the reader holds every slot.
        """
        place = Place(sequence=sequence, slot=self._free_slot(released), shape=image.shape)
        start = place.slot * self._stride
        struct.pack_into("<Q", self._memory, start, sequence)
        self._pixels(place.slot, image.shape)[...] = image
        struct.pack_into("<Q", self._memory, start + 8, sequence)
        self._sequences[place.slot] = sequence
        self._newest = place
        return place

    def close(self) -> None:
        """Let go; a reader's mapping stays what it is."""
        os.close(self.descriptor)

    def _free_slot(self, released: int) -> int:
        newest = None if self._newest is None else self._newest.slot
        for slot, sequence in enumerate(self._sequences):
            if sequence <= released and slot != newest:
                return slot
        raise CameraError(f"all {len(self._sequences)} slots hold frames that nobody has taken")

    def _pixels(self, slot: int, shape: tuple[int, ...]) -> Image:
        offset = slot * self._stride + HEADER_BYTES
        return np.frombuffer(self._memory, np.uint8, math.prod(shape), offset).reshape(shape)


class RingReader:
    """The other side: a mapping that cannot be written through. `read` may be called by any thread."""

    def __init__(self, descriptor: int, *, slots: int = SLOTS) -> None:
        """Map a ring.

        Args:
            descriptor: of the memory; taken over and closed.
            slots: as in the writer.

        Raises:
            CameraError: it is not a sealed ring of that many slots.
        """
        try:
            size = os.fstat(descriptor).st_size
            sealed = fcntl.fcntl(descriptor, fcntl.F_GET_SEALS) & fcntl.F_SEAL_SHRINK
            if not sealed or size == 0 or size % slots or size // slots > HEADER_BYTES + MAX_SLOT_BYTES:
                raise CameraError(f"{size:,} bytes, sealed: {bool(sealed)}, are no ring of {slots} slots")
            self._memory = mmap.mmap(descriptor, size, prot=mmap.PROT_READ)
        except OSError as error:
            raise CameraError(f"the ring cannot be mapped ({error.strerror})") from error
        finally:
            os.close(descriptor)
        self._slots, self._stride = slots, size // slots

    def read(self, place: Place) -> Image:
        """Return a copy of a frame, owned by the caller.

        A copy, because a frame may be kept until it is on disk: a view would tie the number of parts in
        work to the number of slots. docs/decisions/0008 has what it costs.

        Raises:
            FrameOutOfOrder: the slot does not hold that frame, or no longer.
            CameraError: there is no such place in the ring.
        """
        size = math.prod(place.shape)
        if not 0 <= place.slot < self._slots or not 0 < size <= self._stride - HEADER_BYTES:
            raise CameraError(f"no place in the ring: slot {place.slot}, {place.shape}")
        self._check(place)
        offset = place.slot * self._stride + HEADER_BYTES
        copy = np.frombuffer(self._memory, np.uint8, size, offset).reshape(place.shape).copy()
        self._check(place)
        return copy

    def _check(self, place: Place) -> None:
        held = HEADER.unpack_from(self._memory, place.slot * self._stride)
        if held != (place.sequence, place.sequence):
            raise FrameOutOfOrder(
                f"the slot of frame {place.sequence} holds {held[0]}: it was written again before it was read"
            )


def _whole_pages(size: int) -> int:
    return -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
