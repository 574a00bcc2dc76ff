"""What can go wrong between a lens or a disk and a frame.

    PartgateError
    |-- CameraError               exit 69: a camera did not give what was asked of it
    |   |-- CameraUnavailable     exit 69: no such producer or device, in use, gone, or not open
    |   |-- FrameTimeout          exit 69: no whole frame arrived in time
    |   |   `-- NoFrameYet          exit 69: none has come, and none was owed: the line may be idle
    |   |-- FrameIncomplete       exit 69: a frame arrived with less data than its size needs
    |   |-- FrameFormatError      exit 69: a frame's pixel format or size is not one that is judged
    |   |-- FrameOutOfOrder       exit 69: a frame's number went backwards: it is not this part's
    |   |-- FrameFrozen           exit 69: the same frame again: it does not show this part
    |   |-- FrameBlank            exit 69: every pixel is the same: it shows nothing at all
    |   |-- FeatureError          exit 78: the camera does not take a feature's value
    |   `-- EndOfImages           exit 0: a folder's last image has been given; the normal end
    `-- DataError
        `-- ImageError            exit 65: an image file is damaged, of a refused kind, or no image

Only `open` raises FeatureError. CameraUnavailable comes from `open` for a device that is missing, and
from `grab` for as long as one that was lost is away. The frame errors concern one trigger, and the next
`grab` may well succeed. What GenTL and GenApi raise is mapped in `_gentl_errors.py`, what decoders raise
in `_stills.py`; nothing foreign leaves this package. `_messages.py` carries these classes by name from a
camera's process to the station's.
"""

from partgate_station import DataError, PartgateError


class CameraError(PartgateError):
    """A camera did not give what was asked of it."""

    exit_code = 69

    arrived_s: float | None = None
    """When the frame that cannot be judged came, on the monotonic clock; None where none came."""

    lost_before: int = 0
    """As a frame's, of the frame that cannot be judged."""


class CameraUnavailable(CameraError):
    """The camera or its producer is not there, is in use, has gone, or is not open."""


class FrameTimeout(CameraError):
    """No whole frame arrived in time; the text says how many arrived incomplete."""


class NoFrameYet(FrameTimeout):
    """No frame has come to a camera that gives them by itself; nothing is wrong with it for that."""


class FrameIncomplete(CameraError):
    """A frame arrived with less data than its width, height and pixel format need."""


class FrameFormatError(CameraError):
    """A frame's pixel format or size is not one that can be judged."""


class FrameOutOfOrder(CameraError):
    """A frame's number went backwards or was repeated, so it cannot be trusted to show this part."""


class FrameFrozen(CameraError):
    """The same frame came again, by its number or its bytes, so it does not show this part."""


class FrameBlank(CameraError):
    """Every pixel of a frame is the same, so it shows nothing: black, white, or a sensor that is dead."""


class FeatureError(CameraError):
    """The camera has no such feature, or did not take its value; requested and actual are named."""

    exit_code = 78


class EndOfImages(CameraError):
    """A folder's last image has been given: the normal end, for the station to stop at."""

    exit_code = 0


class ImageError(DataError):
    """An image file is damaged, of a refused kind, or no image at all."""
