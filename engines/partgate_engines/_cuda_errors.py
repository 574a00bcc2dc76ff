"""What can go wrong with a GPU, below the root in `partgate_station`.

PartgateError
`-- DeviceFailed              exit 70: the GPU's context answers wrongly from now on; this process must end
    `-- DeviceHung            the GPU did not answer in time; what it does now is unknown
Unavailable
|-- DeviceOutOfMemory         the GPU has no room left; the context is sound
`-- EngineNotBuilt            NVIDIA's builder made no engine of a graph that it could read
"""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from partgate_engines._errors import RuntimeUnavailable
from partgate_station import PartgateError, Unavailable


class DeviceFailed(PartgateError):
    """The GPU's context answers wrongly from now on: the process that holds it must end.

    Never retried in the same process: a CUDA error of this kind is sticky, and what the context says
    after it is not an answer (row F16 of the robustness table).
    """

    exit_code = 70


class DeviceHung(DeviceFailed):
    """The GPU did not answer in time; what it does now is unknown, so nothing more is asked of it."""


class DeviceOutOfMemory(Unavailable):
    """The GPU has no room left, even after all that could be rebuilt was dropped.

    The context is sound, but the process should be started again, with fewer products or smaller
    frames if it happens again (row F18).
    """


class EngineNotBuilt(Unavailable):
    """NVIDIA's builder made no engine of a graph that it could read."""


_NO_ROOM = ("out of memory", "memory allocation", "outofmemory")


def says_no_room(text: str) -> bool:
    """Return whether an error's text, CUDA's or TensorRT's, speaks of memory that ran out."""
    folded = text.lower()
    return any(words in folded for words in _NO_ROOM)


# What CUDA says of the errors that poison a context, and never of a plan that it does not take.
_FAULTS = ("illegal memory", "illegal address", "illegal instruction", "misaligned address",
           "invalid program counter", "invalid address space", "hardware stack error", "uncorrectable ecc",
           "launch failure", "launch timed out", "device-side assert", "unknown error")  # fmt: skip


def says_fault(text: str) -> bool:
    """Return whether an error's text, CUDA's or TensorRT's, speaks of a context that is poisoned."""
    folded = text.lower()
    return any(words in folded for words in _FAULTS)


def let_go(error: BaseException) -> None:
    """Let go of what the frames of an error hold, and of the errors behind it.

    What lies on a device is freed by the device's thread, while there is a context; what a traceback still
    holds is freed by whoever forgets the error last. Not for `DeviceFailed`: nothing is freed after it.
    """
    waiting: list[BaseException | None] = [error]
    seen: list[BaseException] = []
    while waiting:
        found = waiting.pop()
        if found is None or any(found is other for other in seen):
            continue
        seen.append(found)
        traceback.clear_frames(found.__traceback__)
        waiting += [found.__cause__, found.__context__]


@contextmanager
def cuda_errors(foreign: type[BaseException], doing: str) -> Iterator[None]:
    """Map every error of the CUDA driver, while it is in use, to one of ours.

    PyCUDA hands on the driver's text and no code. Memory that ran out is the one error a context
    survives for certain; everything else is sticky (an illegal address, an uncorrectable ECC error, a
    launch that failed), or a mistake of ours that must not be judged with. So it is fatal.

    Args:
        foreign: the root of the library's errors.
        doing: what was tried, for the message.

    Raises:
        DeviceOutOfMemory: the device has no room left.
        DeviceFailed: anything else.
    """
    try:
        yield
    except foreign as error:
        if says_no_room(str(error)):
            raise DeviceOutOfMemory(f"GPU: no memory left while {doing} ({error})") from error
        raise DeviceFailed(
            f"GPU: failed while {doing} ({error}); this process ends, because its CUDA context may answer"
            " wrongly from now on"
        ) from error


@contextmanager
def opening_errors(foreign: type[BaseException]) -> Iterator[None]:
    """Map the errors of opening a device: it is not there, or not for us.

    Raises:
        DeviceOutOfMemory: others have taken all of its memory.
        RuntimeUnavailable: anything else.
    """
    try:
        yield
    except foreign as error:
        if says_no_room(str(error)):
            raise DeviceOutOfMemory(f"GPU: no memory for a context ({error}); who else uses it?") from error
        raise RuntimeUnavailable(
            f"runtime tensorrt: the GPU cannot be opened ({error}); look at nvidia-smi: is a driver loaded,"
            " is the device in exclusive mode or taken by another process?"
        ) from error
