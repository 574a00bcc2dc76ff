"""A camera over a drawn line: no hardware, no files of one's own, and the truth is known."""

from datetime import UTC, datetime

from partgate_cameras._drawing import draw_part
from partgate_cameras._errors import CameraUnavailable
from partgate_cameras._frame import Frame
from partgate_cameras._texture import load_texture
from partgate_station import VirtualCamera


class VirtualLine:
    """Draws part after part; `draw_part` with a frame's `frame_id` tells what was drawn on it."""

    def __init__(self, config: VirtualCamera, *, start_at: int = 0) -> None:
        self.camera_id = config.camera_id
        self._config = config
        self._next = start_at
        self._is_open = False

    @property
    def exhausted(self) -> bool:
        """Never: there is always another part to draw."""
        return False

    def open(self) -> None:
        """Load the photograph that the parts are cut from.

        Raises:
            Unavailable: scikit-image, in whose wheel it lies, is not installed.
        """
        load_texture(self._config.texture)
        self._is_open = True

    def grab(self, timeout_s: float) -> Frame:  # noqa: ARG002 - the protocol's
        """Return the next part's frame at once; `timeout_s` is not needed."""
        if not self._is_open:
            raise CameraUnavailable(f"camera {self.camera_id}: not open")
        number = self._next
        self._next += 1
        return Frame(
            image=draw_part(self._config, number).image,
            camera_id=self.camera_id,
            frame_id=number,
            camera_timestamp_ns=None,
            received_at=datetime.now(UTC),
        )

    def close(self) -> None:
        """Stop giving frames; `open` goes on with the part after the last."""
        self._is_open = False
