"""One GenTL device that streams, and how its buffers become images.

What harvesters 1.4.3 does, and what is done about it (read in its source, and tried):

- `fetch` spins for ever in some modes: only `try_fetch`, with a deadline of our own around it.
- A native wait holds Python's lock. Beside 1 ms waits another thread got three fifths of the turns
  it got when the device is asked without waiting and slept between, beside 20 ms waits one fifth.
- Its image arrays are wrong where lines are padded (the result of the removal is thrown away): only
  raw buffers are taken.
"""

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from partgate_cameras._errors import CameraUnavailable, FrameFormatError
from partgate_cameras._features import find_node, read, set_features
from partgate_cameras._genicam_region import BEFORE_REGION, check_picture, set_picture
from partgate_cameras._genicam_trigger import check_trigger, with_trigger
from partgate_cameras._gentl_device import open_device
from partgate_cameras._gentl_errors import mapped
from partgate_cameras._gentl_life import LifeSigns
from partgate_cameras._pixel_formats import check_supported, line_bytes, to_image
from partgate_cameras._producers import Producer, find_producer
from partgate_station import GenicamCamera

BUFFERS = 8  # frames that may arrive while one part is judged
POLL_S = 0.0001  # > 0, because harvesters takes 0 for "for ever"
BIG_ENDIAN = 2  # GenTL's PIXELENDIANNESS_BIG
NS_PER_S = 1_000_000_000

_logger = logging.getLogger(__name__)

TriggerMode = Literal["off", "software", "hardware"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameLayout:
    """Size and pixel format of a frame."""

    width_px: int
    height_px: int
    pixel_format: str

    def __str__(self) -> str:
        return f"{self.width_px}×{self.height_px} {self.pixel_format}"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Delivery:
    """A whole frame as it came from the device; the image is a copy of the device's buffer."""

    image: NDArray[np.uint8]
    frame_id: int | None
    timestamp_ns: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """A frame that was dropped without a look at its pixels."""

    frame_id: int | None
    timestamp_ns: int | None


class GentlStream:
    """A device that streams, until `close`. Nothing here waits."""

    def __init__(self, config: GenicamCamera) -> None:
        """Open the device, set its features and start it; leave nothing open if that fails."""
        self._what = f"camera {config.camera_id}"
        self.incomplete = 0
        with mapped(self._what), ExitStack() as half_open:
            producer = Producer.acquire(find_producer(config.producer))
            half_open.callback(producer.release)
            device = open_device(producer.harvester, config, on_incomplete=self._count_incomplete)
            self._acquirer, self.serial_number = half_open.enter_context(device)
            self._node_map = self._acquirer.remote_device.node_map
            self._set(config)
            self._expected = self._announced_layout()
            self._acquirer.num_buffers = max(BUFFERS, self._acquirer.min_num_buffers)
            self.trigger_mode: TriggerMode = self._configured_trigger()
            source = str(read(self._node_map, "TriggerSource"))
            check_trigger(config, waits_for_line=self.trigger_mode == "hardware", source=source)
            self._life = LifeSigns(self._acquirer, self._what) if self.trigger_mode == "hardware" else None
            self._acquirer.start()
            self._resources = half_open.pop_all()

    def poll(self) -> Delivery | None:
        """Return the oldest frame that has arrived, None if there is none.

        A frame that is not whole is counted in `incomplete` and not returned.

        Raises:
            FrameFormatError: the frame is of another size or format than when the camera started.
            CameraUnavailable: the device has gone.
        """
        with mapped(self._what):
            buffer = self._fetch()
            if buffer is None:
                return None
            try:
                return self._delivery(buffer)
            finally:
                buffer.parent.queue_buffer(buffer)

    def drop_waiting(self) -> Sequence[Dropped]:
        """Drop the frames that have arrived; return them in order."""
        dropped: list[Dropped] = []
        with mapped(self._what):
            for _ in range(2 * BUFFERS):  # a camera faster than this loop must not keep us here
                buffer = self._fetch()
                if buffer is None:
                    break
                number, timestamp_ns = _info(buffer, "frame_id"), self._timestamp_ns(buffer)
                dropped.append(Dropped(frame_id=number, timestamp_ns=timestamp_ns))
                buffer.parent.queue_buffer(buffer)
        return dropped

    def fire(self) -> None:
        """Send the software trigger."""
        with mapped(self._what):
            self._node_map.TriggerSoftware.execute()

    def prove_alive(self) -> None:
        """Have a device behind a trigger line answer; return once it has. A millisecond on GigE.

        Raises:
            CameraUnavailable: it does not: cable, power, or the device itself.
        """
        if self._life is not None:
            with mapped(self._what):
                self._life.ask()

    def restart(self) -> None:
        """Stop and start: what was exposed before cannot come any more. 150 ms with the simulator."""
        with mapped(self._what):
            self._acquirer.stop()
            self._acquirer.start()

    def close(self) -> None:
        """Stop and release everything; what goes wrong in doing so is logged."""
        try:
            with mapped(self._what):
                self._resources.close()
        except CameraUnavailable as error:
            _logger.warning("while closing: %s", error)

    def _set(self, config: GenicamCamera) -> None:
        """Set what the file says: first what says of what a region is one, then the region."""
        features = dict(with_trigger(config, self._has))
        if config.region is not None or config.binning is not None:
            before = {name: features.pop(name) for name in BEFORE_REGION if name in features}
            set_features(self._node_map, before)
            set_picture(self._node_map, config)
        set_features(self._node_map, features)
        check_picture(self._node_map, config)

    def _has(self, name: str) -> bool:
        return find_node(self._node_map, name) is not None

    def _count_incomplete(self) -> None:
        self.incomplete += 1

    def _fetch(self) -> Any:
        """Return a raw buffer, which must be queued again, or None."""
        return self._acquirer.try_fetch(timeout=POLL_S, is_raw=True)

    def _announced_layout(self) -> FrameLayout:
        """Return what the camera says its frames will be."""
        pixel_format = read(self._node_map, "PixelFormat")
        check_supported(str(pixel_format))
        width_px, height_px = read(self._node_map, "Width"), read(self._node_map, "Height")
        line_bytes(str(pixel_format), width_px)  # refused now, not with the first part
        return FrameLayout(width_px=width_px, height_px=height_px, pixel_format=pixel_format)

    def _configured_trigger(self) -> TriggerMode:
        if read(self._node_map, "TriggerMode") != "On":
            return "off"
        return "software" if read(self._node_map, "TriggerSource") == "Software" else "hardware"

    def _delivery(self, buffer: Any) -> Delivery | None:
        frame_id = _info(buffer, "frame_id")
        layout = self._layout(buffer)
        if layout != self._expected:
            raise FrameFormatError(f"{self._what}: frame {frame_id}: {layout}, expected {self._expected}")
        padding = _info(buffer, "padding_x") or 0
        data = np.frombuffer(buffer.raw_buffer, np.uint8, offset=_info(buffer, "image_offset") or 0)
        needed = layout.height_px * (line_bytes(layout.pixel_format, layout.width_px) + padding)
        arrived = min(data.size, _info(buffer, "size_filled") or data.size)
        if (
            arrived < needed
            or (_info(buffer, "delivered_image_height") or layout.height_px) < layout.height_px
        ):
            _logger.warning(
                "%s: frame %s: %d bytes arrived, %d needed", self._what, frame_id, arrived, needed
            )
            self._count_incomplete()
            return None
        image = to_image(
            data,
            pixel_format=layout.pixel_format,
            width_px=layout.width_px,
            height_px=layout.height_px,
            padding_bytes=padding,
            big_endian=_info(buffer, "pixel_endianness") == BIG_ENDIAN,
        )
        return Delivery(image=image, frame_id=frame_id, timestamp_ns=self._timestamp_ns(buffer))

    def _layout(self, buffer: Any) -> FrameLayout:
        """Return what the buffer says of itself; where it says nothing, what the camera announced."""
        from harvesters.util.pfnc import symbolics

        width_px, height_px, code = (_info(buffer, name) for name in ("width", "height", "pixel_format"))
        return FrameLayout(
            width_px=self._expected.width_px if width_px is None else width_px,
            height_px=self._expected.height_px if height_px is None else height_px,
            pixel_format=self._expected.pixel_format
            if code is None
            else symbolics.get(code, f"0x{code:08x}"),
        )

    def _timestamp_ns(self, buffer: Any) -> int | None:
        """Return the camera's time; zero is what cameras give that have no clock."""
        nanoseconds = _info(buffer, "timestamp_ns")
        if nanoseconds is None:
            ticks = _info(buffer, "timestamp")
            frequency_hz = _info(self._acquirer.device, "timestamp_frequency")
            nanoseconds = ticks * NS_PER_S // frequency_hz if ticks and frequency_hz else None
        return nanoseconds or None


def _info(module: Any, name: str) -> Any:
    """Return what a GenTL module says of itself, None where the producer does not know."""
    from genicam.gentl import GenericException

    try:
        return getattr(module, name)
    except GenericException:
        return None
