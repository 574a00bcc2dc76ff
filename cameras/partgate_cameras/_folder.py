"""A camera whose frames are images on disk."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from partgate_cameras._errors import CameraUnavailable, EndOfImages, ImageError
from partgate_cameras._frame import Frame
from partgate_cameras._listing import survey_images
from partgate_cameras._stills import read_image
from partgate_station import FolderCamera, MissingInput


class FolderImages:
    """Gives the images of a folder, one per trigger, in the order of `list_images`.

    The folder is listed once, by `open`: images that come later are not seen until it is opened
    again. A file that cannot be read costs its trigger, never the ones after it. One image is read ahead,
    by `prepare`.
    """

    def __init__(self, config: FolderCamera, *, next_image: int = 0) -> None:
        self.camera_id = config.camera_id
        self._config = config
        self._next = next_image
        self._images: tuple[Path, ...] | None = None
        self._ahead: tuple[int, NDArray[np.uint8] | ImageError] | None = None

    @property
    def exhausted(self) -> bool:
        """Whether the last image has been given and `repeat` is off."""
        return self._images is not None and not self._config.repeat and self._next >= len(self._images)

    def open(self) -> None:
        """List the folder.

        Raises:
            MissingInput: there is no such folder.
            CameraUnavailable: there is no image in it.
        """
        survey = survey_images(self._config.folder)
        if not survey.images:
            raise CameraUnavailable(f"camera {self.camera_id}: {survey.nothing_found()}")
        self._images = survey.images

    def grab(self, timeout_s: float) -> Frame:  # noqa: ARG002 - the protocol's
        """Return the next image, at once if it was read ahead; `timeout_s` is not needed.

        Raises:
            EndOfImages: the last one has been given and `repeat` is off.
            ImageError: the file cannot be read; the next call takes the one after it.
        """
        if self._images is None:
            raise CameraUnavailable(f"camera {self.camera_id}: not open")
        number, count = self._next, len(self._images)
        if number >= count and not self._config.repeat:
            raise EndOfImages(f"camera {self.camera_id}: all {count} images of {self._config.folder} given")
        self._next += 1
        image = self._taken(number)
        if isinstance(image, ImageError):
            raise image
        return Frame(
            image=image,
            camera_id=self.camera_id,
            frame_id=number,
            camera_timestamp_ns=None,
            received_at=datetime.now(UTC),
        )

    def prepare(self) -> None:
        """Read the image that the next `grab` gives: nobody waits for it now."""
        if self._images is not None and not self.exhausted and self._ahead is None:
            self._ahead = (self._next, self._read(self._next))

    def close(self) -> None:
        """Forget the list; `open` goes on after the last image given."""
        self._images = self._ahead = None

    def _taken(self, number: int) -> NDArray[np.uint8] | ImageError:
        ahead, self._ahead = self._ahead, None
        return ahead[1] if ahead is not None and ahead[0] == number else self._read(number)

    def _read(self, number: int) -> NDArray[np.uint8] | ImageError:
        images = self._images or ()
        try:
            return read_image(images[number % len(images)])
        except MissingInput as error:
            gone = ImageError(f"{error} any more: it was there when the camera was opened")
            gone.__cause__ = error
            return gone
        except ImageError as error:
            return error
