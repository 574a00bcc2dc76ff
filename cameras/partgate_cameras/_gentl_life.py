"""Whether an open device is still there: asked of the device itself, past every cache.

A producer tells nobody that a cable was pulled (harvesters issues 272 and 375): to `try_fetch` a device that
has gone is one that has nothing to give, and what GenApi has read once it answers by itself. Asked are:

- the four bytes at address 0 of the device's registers. GigE Vision, GenCP (USB3 Vision) and CoaXPress have
  the version of their own standard there, and to read it is a message to the device and one back;
- of a device that has nothing there, its Width, past GenApi's cache;
- the producer's access to the device, which some producers take back when the device's heartbeat fails.

Only what was answered when the device was opened is asked later on: a simulator may know none of it, and its
silence then says nothing.
"""

from collections.abc import Callable
from typing import Any

from partgate_cameras._errors import CameraUnavailable
from partgate_cameras._features import find_node

VERSION_ADDRESS, VERSION_BYTES = 0, 4
NO_ACCESS = 3  # GenTL's DEVICE_ACCESS_STATUS_NOACCESS: seen by the producer, and not reachable


class LifeSigns:
    """What an open device can be asked, to see that it answers. Used by the thread that owns the device."""

    def __init__(self, acquirer: Any, what: str) -> None:
        """Find out what the device answers; raises nothing.

        Args:
            acquirer: harvesters', of an open device.
            what: "camera top", for the error.
        """
        self._acquirer, self._what = acquirer, what
        questions: tuple[Callable[[], object], ...] = (self._version, self._width)
        self._question = next((ask for ask in questions if _answer(ask) is not None), None)
        self._has_access = _answer(self._access) not in {None, NO_ACCESS}

    def ask(self) -> None:
        """Ask the device; return once it has answered.

        Raises:
            CameraUnavailable: the producer says that it is not reachable.
            genicam.gentl.GenericException: it does not answer.
            genicam.genapi.GenericException: as above.
        """
        if self._question is not None:
            self._question()
        if self._has_access and self._access() == NO_ACCESS:
            raise CameraUnavailable(f"{self._what} is not reachable any more: check cable and power")

    def _version(self) -> object:
        return self._acquirer.remote_device.port.read(VERSION_ADDRESS, VERSION_BYTES)

    def _width(self) -> object:
        node = find_node(self._acquirer.remote_device.node_map, "Width")
        return None if node is None else node.get_value(ignore_cache=True)

    def _access(self) -> int:
        return int(self._acquirer.device.access_status)


def _answer(ask: Callable[[], object]) -> object:
    """Return what is answered now, None where nothing is."""
    from genicam import genapi, gentl

    try:
        return ask()
    except (gentl.GenericException, genapi.GenericException, AttributeError):
        return None
