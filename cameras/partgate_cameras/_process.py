"""A camera that lives in a process of its own, used like any other."""

import logging
import os
from collections import deque
from collections.abc import Sequence
from datetime import datetime

from partgate_cameras import _messages as wire
from partgate_cameras._child_process import ChildProcess
from partgate_cameras._errors import CameraError, CameraUnavailable, NoFrameYet
from partgate_cameras._frame import Frame, StrayFrame
from partgate_cameras._keeper import Keeper
from partgate_cameras._make import first_frame, is_device, resume_camera
from partgate_cameras._order import MakeCamera, Order
from partgate_cameras._patience import Patience
from partgate_cameras._requests import Answer, Requests
from partgate_station import Camera as CameraConfig
from partgate_station import GenicamCamera, PartgateError

_logger = logging.getLogger(__name__)

# Reading a file of 64 Mpx takes seconds; a device that owes a frame for so long is not there.
DEVICE_PATIENCE = Patience()
FILE_PATIENCE = Patience(hang_s=5.0, doubt_turns=8)  # it is read ahead while nobody asks
TRIES = 2
STRAYS = 64


class ProcessCamera:
    """Any kind of camera, in a process that is killed and started again when it is lost.

    `grab` keeps to its time whatever happens to that process. While it is away, `grab` raises at once,
    so that parts become UNDECIDED in time. A folder or a virtual line goes on after its last frame; a
    frame whose grabbing ended the process is tried once more, then passed over.
    """

    def __init__(
        self,
        config: CameraConfig,
        *,
        start_at: int = 0,
        make: MakeCamera = resume_camera,
        patience: Patience | None = None,
    ) -> None:
        """Prepare; `open` starts the process.

        Args:
            config: of any kind.
            start_at: as for `make_camera`.
            make: makes the camera in its process; a module's function, pickled by name.
            patience: None: by the kind of camera.
        """
        self.camera_id = config.camera_id
        self._config, self._make = config, make
        self._is_device = is_device(config)
        self._patience = patience or (DEVICE_PATIENCE if self._is_device else FILE_PATIENCE)
        self._next_frame = first_frame(config, start_at)
        self._deaths = 0  # while grabbing the next frame
        self._shape: tuple[int, ...] | None = None
        self._serial_number: str | None = None  # of the device that was opened, where the file names none
        self._exhausted = False
        self._requests: Requests | None = None
        self._keeper: Keeper | None = None
        self._is_open = False
        self._gives_by_itself = isinstance(config, GenicamCamera) and config.is_line_triggered
        self._waiting: deque[Frame | PartgateError] = deque()  # late answers, one for each late request
        self._strays: deque[StrayFrame] = deque(maxlen=STRAYS)  # the oldest goes; each was logged
        self.lost_frames = 0
        """Frames that the camera numbered and that never came."""

    @property
    def exhausted(self) -> bool:
        """Whether the camera said with its last answer that there will be no more frames."""
        return self._exhausted if self._requests is None else self._requests.exhausted

    @property
    def pid(self) -> int | None:
        """Of the process that lives now; None while there is none."""
        child = None if self._keeper is None else self._keeper.child
        return None if child is None else child.pid

    @property
    def restarts(self) -> int:
        """How often the process was started again since `open`."""
        return 0 if self._keeper is None else self._keeper.restarts

    @property
    def problem(self) -> str | None:
        """Why there is no living camera to ask at the moment; None if there is. For any thread."""
        requests = self._requests
        return f"camera {self.camera_id}: not open" if requests is None else requests.problem

    def start(self) -> None:
        """Start the process and return at once; `open` waits for it. For cameras to open side by side."""
        if self._keeper is None:
            self._shape = None
            self._requests = Requests(self.camera_id)
            self._keeper = Keeper(self.camera_id, self._requests, self, patience=self._patience)
            self._keeper.start()

    def open(self) -> None:
        """Start the process and open the camera in it.

        Raises:
            PartgateError: what the camera itself raised; nothing is left running.
            CameraUnavailable: it did not open in time, or ended its process.
        """
        self.start()
        if self._keeper is not None and not self._is_open:
            try:
                self._keeper.wait_opened()
            except BaseException:
                self.close()
                raise
            self._is_open = True

    def grab(self, timeout_s: float) -> Frame:
        """Return the trigger's frame, a copy of what lies in shared memory, within `timeout_s` and 50 ms.

        Raises:
            CameraUnavailable: not open, or away: at once.
            FrameTimeout: no frame, or no answer, in time.
            FrameFrozen: the same frame again.
            CameraError: as the camera itself raised it.
            ImageError: as the camera itself raised it.
        """
        return self._asked("grab", timeout_s)

    def next_frame(self, timeout_s: float) -> Frame:
        """Return the oldest frame of a camera behind a trigger line; as `grab`, but none is no fault.

        Raises:
            NoFrameYet: none came in time.
            CameraError: as `grab`.
        """
        return self._asked("next", timeout_s)

    def flush(self, timeout_s: float) -> None:
        """Have the camera drop what has come, and let nothing come that was exposed before.

        Raises:
            CameraError: it is away, or did not answer in time.
        """
        if self._requests is None:
            raise CameraUnavailable(f"camera {self.camera_id}: not open")
        answer = self._requests.ask(timeout_s, answer_s=self._patience.answer_s, kind="flush")
        self._requests.release(answer.message.number)
        self._drop_waiting()
        if isinstance(answer.message, wire.NotDelivered) and answer.message.error != NoFrameYet.__name__:
            raise wire.error_of(answer.message, camera_id=self.camera_id)

    def take_strays(self) -> Sequence[StrayFrame]:
        """Return the frames that were given to no part, since the last call."""
        return tuple(self._strays.popleft() for _ in range(len(self._strays)))

    def _asked(self, kind: str, timeout_s: float) -> Frame:
        if self._requests is None:
            raise CameraUnavailable(f"camera {self.camera_id}: not open")
        if not self._waiting:
            answer = self._requests.ask(timeout_s, answer_s=self._patience.answer_s, kind=kind)
            try:
                self._waiting.append(self._content(answer))
            finally:
                self._requests.release(answer.message.number)
        oldest = self._waiting.popleft()
        self.lost_frames += getattr(oldest, "lost_before", 0)  # an ImageError has none
        if isinstance(oldest, PartgateError):
            raise oldest
        return oldest

    def _drop_waiting(self) -> None:
        while self._waiting:
            if isinstance(frame := self._waiting.popleft(), Frame):
                self._stray(frame, "FLUSHED: the camera was flushed")

    def _stray(self, frame: Frame, why: str) -> None:
        self._strays.append(
            StrayFrame(
                camera_id=self.camera_id,
                frame_id=frame.frame_id,
                camera_timestamp_ns=frame.camera_timestamp_ns,
                received_at=frame.received_at,
                why=why,
                image=frame.image,
            )
        )

    def close(self) -> None:
        """End the process, within 5 s; `open` works again and goes on after the last frame."""
        keeper, self._keeper, self._is_open = self._keeper, None, False
        if keeper is not None:
            keeper.stop()
            self._exhausted, self._requests = self.exhausted, None

    def _content(self, answer: Answer) -> Frame | PartgateError:
        message, ring = answer.message, answer.ring
        if isinstance(message, wire.NotDelivered):
            return wire.error_of(message, camera_id=self.camera_id)
        if ring is None:
            return CameraError(f"camera {self.camera_id}: a frame without memory")
        return Frame(
            image=ring.read(wire.place_of(message)),
            camera_id=self.camera_id,
            frame_id=message.frame_id,
            camera_timestamp_ns=message.camera_timestamp_ns,
            received_at=datetime.fromisoformat(message.received_at),
            arrived_s=message.arrived_s,
            lost_before=message.lost_before,
            measures=wire.measures_of(message),
        )

    # What the keeper asks, in its thread.

    def opened(self, message: wire.Opened) -> None:
        """Note which device it is: opened again, it must be the same, whichever the producer names first."""
        config = self._config
        if not isinstance(config, GenicamCamera) or config.names_device or self._serial_number is not None:
            return
        self._serial_number = message.serial_number
        _logger.info("camera %s: is the device with serial number %s", self.camera_id, message.serial_number)

    def late(self, answer: Answer) -> None:
        """Keep what came too late for who asked: the next to ask gets it, or it is no part's."""
        try:
            content = self._content(answer)
        except CameraError as error:  # its slot was written again
            content = error
        stands_for_a_part = isinstance(content, Frame) or getattr(content, "arrived_s", None) is not None
        if self._gives_by_itself and stands_for_a_part:
            self._waiting.append(content)
        elif isinstance(content, Frame):
            self._stray(content, "LATE: its part had been given up")

    def stray(self, message: wire.Stray) -> None:
        """Keep what is known of a frame that was dropped in the camera's process."""
        self._strays.append(
            StrayFrame(
                camera_id=self.camera_id,
                frame_id=message.frame_id,
                camera_timestamp_ns=message.camera_timestamp_ns,
                received_at=datetime.fromisoformat(message.received_at),
                why=message.why,
            )
        )

    def spawn(self, *, again: bool) -> ChildProcess:
        """Start a process that goes on with the next frame."""
        patience = self._patience
        return ChildProcess(
            Order(
                config=self._device_config(),
                make=self._make,
                next_frame=self._next_frame,
                frozen_after=getattr(self._config, "frozen_after", 0) if self._is_device else 0,
                shape=self._shape,
                one_size=self._is_device,
                retry_every_s=patience.retry_every_s if again else None,
                retry_for_s=patience.retry_for_s,
                beat_every_s=patience.beat_every_s,
                log_level=_logger.getEffectiveLevel(),
                parent_pid=os.getpid(),
            )
        )

    def _device_config(self) -> CameraConfig:
        """Return the settings, with the device that was opened first."""
        if self._serial_number is None:
            return self._config
        return self._config.model_copy(update={"serial_number": self._serial_number})

    def answered(self, message: wire.Delivered | wire.NotDelivered) -> None:
        """Follow which frame is next, and what size frames have."""
        if isinstance(message, wire.NotDelivered) and not wire.is_known(message.error):
            self.died_grabbing()  # nobody foresaw it: the same again would be an outage for ever
            return
        self._deaths = 0
        if isinstance(message, wire.Delivered):
            self._next_frame = message.frame_id + 1
            self._shape = message.shape if self._is_device else None
        elif message.error == "ImageError":  # it cost its trigger, and is not read again
            self._next_frame += 1

    def died_grabbing(self) -> None:
        """Pass over a frame that ends every process that grabs it."""
        self._deaths += 1
        if self._deaths >= TRIES and not self._is_device:
            _logger.error(
                "camera %s: frame %d ended its process %d times; passed over",
                self.camera_id,
                self._next_frame,
                TRIES,
            )
            self._next_frame, self._deaths = self._next_frame + 1, 0
