"""Choosing and opening a GenTL device through harvesters, and leaving it without a trace."""

import logging
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from partgate_cameras._errors import CameraUnavailable
from partgate_station import GenicamCamera

NO_WAIT_MS = 0

_logger = logging.getLogger(__name__)


@contextmanager
def open_device(
    harvester: Any, config: GenicamCamera, *, on_incomplete: Callable[[], None]
) -> Iterator[tuple[Any, str | None]]:
    """Open the device that the station file names; yield harvesters' acquirer and the device's serial number.

    The acquirer is not yet started; a device without a number has None.

    Args:
        harvester: with its devices looked up.
        config: which device.
        on_incomplete: called from within `try_fetch` for a buffer that is not whole.

    Raises:
        CameraUnavailable: no such device; the text lists those there are.
    """
    from harvesters.core import ParameterKey, ParameterSet

    devices = [info.property_dict for info in harvester.device_info_list]
    number = _choose(devices, config)
    settings = ParameterSet(
        {
            ParameterKey.ENABLE_AUTO_CHUNK_DATA_UPDATE: False,
            ParameterKey.TIMEOUT_PERIOD_ON_UPDATE_EVENT_DATA_CALL: NO_WAIT_MS,
        }
    )
    with _own_sigint():
        acquirer = harvester.create(number, config=settings)
    try:
        # As a context, because only leaving it takes the acquirer out of the interpreter's list of
        # finalizers, which otherwise keeps it until the process ends.
        with acquirer:
            _check_one_stream(acquirer, config)
            acquirer.add_callback(acquirer.Events.INCOMPLETE_BUFFER, _calling(on_incomplete))
            yield acquirer, devices[number]["serial_number"] or None
    finally:
        # harvesters keeps destroyed acquirers in this list (its issue 248), unless its own finalizer
        # has emptied it because the process is ending.
        if acquirer in harvester.image_acquirers:
            harvester.image_acquirers.remove(acquirer)


def _choose(devices: Sequence[dict[str, Any]], config: GenicamCamera) -> int:
    for number, device in enumerate(devices):
        wrong_serial = config.serial_number is not None and device["serial_number"] != config.serial_number
        wrong_name = (
            config.user_defined_name is not None and device["user_defined_name"] != config.user_defined_name
        )
        if not wrong_serial and not wrong_name:
            return number
    if config.serial_number is not None:
        wanted = f"with serial number '{config.serial_number}'"
    elif config.user_defined_name is not None:
        wanted = f"with user-defined name '{config.user_defined_name}'"
    else:
        wanted = "at all"
    there = "; ".join(_described(device) for device in devices) or "none"
    raise CameraUnavailable(
        f"camera {config.camera_id}: {config.producer} knows no device {wanted}; devices there are: {there}"
    )


def _described(device: dict[str, Any]) -> str:
    name = f", user-defined name '{device['user_defined_name']}'" if device["user_defined_name"] else ""
    return f"{device['vendor']} {device['model']}, serial number '{device['serial_number']}'{name}"


def _check_one_stream(acquirer: Any, config: GenicamCamera) -> None:
    streams = len(acquirer.data_streams)
    if streams != 1:
        raise CameraUnavailable(
            f"camera {config.camera_id}: the device has {streams} data streams, expected 1"
        )


def _calling(function: Callable[[], None]) -> Any:
    """Return a harvesters callback: it insists on its own class."""
    from harvesters.core import Callback

    class Calling(Callback):  # type: ignore[misc] # harvesters has no annotations
        def emit(self, context: object = None) -> None:  # noqa: ARG002 - harvesters names it
            function()

    return Calling()


@contextmanager
def _own_sigint() -> Iterator[None]:
    """Keep the program's handler of SIGINT.

    harvesters puts its own in its place, which destroys the acquirer and swallows the signal. It
    does so in the main thread only, where alone handlers can be set.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        if before is not None:  # None: it was not set from Python, and cannot be put back from it
            signal.signal(signal.SIGINT, before)
