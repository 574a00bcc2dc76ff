"""Light, lens and mount: whether a camera's frames still look as when the product was learned.

    WELL --trip_frames of the last of_frames frames outside--> ALARM --resume_frames in a row inside--> WELL

A frame of another size, or in colour where grey was learned, is no matter of how many: its part is UNDECIDED.

While a camera is in alarm every part is UNDECIDED. It comes back by itself, so the station stays ready: who
stopped sending parts would never see that the light is on again.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from partgate.line._judge import Judge
from partgate.line._part import Reason
from partgate.records import SuspectParts
from partgate_cameras import Frame, ImageMeasures, Reading, ReferenceCheck, measure_image, misfit
from partgate_station import ImageHealth, ImageReference

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraHealth:
    """What was measured of a camera's last frame."""

    camera_id: str
    brightness: float
    focus: float
    position_px: float | None
    """How far it had moved against the reference; None where that is not known."""

    readings: tuple[Reading, ...]
    """What is told right from wrong, and what it may be."""

    alarm: str | None
    """Why the camera's frames decide nothing; None while they do."""


class Hysteresis:
    """Trips after n of m frames outside, resumes after k in a row inside.

    Args:
        limits: n, m and k.
    """

    def __init__(self, limits: ImageHealth) -> None:
        self._limits = limits
        self._last: deque[tuple[int, bool]] = deque(maxlen=limits.of_frames)
        self.inside = 0
        """So many frames in a row inside."""
        self.is_tripped = False

    @property
    def outside_since(self) -> int | None:
        """The trigger of the oldest frame outside that counts; None: there is none."""
        return next((trigger for trigger, outside in self._last if outside), None)

    def take(self, trigger_id: int, *, outside: bool) -> bool:
        """Take in a frame; return whether that changed the state."""
        self._last.append((trigger_id, outside))
        self.inside = 0 if outside else self.inside + 1
        was_tripped = self.is_tripped
        if was_tripped and self.inside >= self._limits.resume_frames:
            self.is_tripped = False
            self._last.clear()  # the frames that tripped it are not to do so again
        elif sum(outside for _, outside in self._last) >= self._limits.trip_frames:
            self.is_tripped = True
        return self.is_tripped != was_tripped


class _Watched:
    """One camera, held against one reference."""

    def __init__(self, camera_id: str, reference: ImageReference | None, limits: ImageHealth) -> None:
        self.reference = reference
        self._camera_id, self._limits = camera_id, limits
        self._check = ReferenceCheck(reference, margin=limits.margin, names=limits.watch)
        self.hysteresis = Hysteresis(limits)
        self._outside = ""
        self._misfit: str | None = None

    def observe(self, measures: ImageMeasures, trigger_id: int) -> CameraHealth:
        """Take in a frame."""
        position_px = self._check.position_px(measures)
        readings = self._check.readings(measures, position_px)
        outside = [str(reading) for reading in readings if reading.is_outside]
        self._outside = "; ".join(outside) or self._outside
        changed = self.hysteresis.take(trigger_id, outside=bool(outside))
        alarm = self._why() if self.hysteresis.is_tripped else None
        if changed:
            self._tell(alarm)
        alarm = self._misfits(measures) or alarm
        return CameraHealth(
            camera_id=self._camera_id,
            brightness=measures.brightness,
            focus=measures.focus,
            position_px=position_px,
            readings=readings,
            alarm=alarm,
        )

    def _misfits(self, measures: ImageMeasures) -> str | None:
        """Return why a frame is not of the kind that was learned, and say so in the log when that changes."""
        before, found = self._misfit, None
        if "shape" in self._limits.watch:
            found = misfit(self.reference, measures)
        self._misfit = found
        if found is None:
            return None
        if found != before:
            log.error("image health: parts are UNDECIDED; set the camera as it was, or learn anew",
                      camera=self._camera_id, why=found)  # fmt: skip
        return f"camera {self._camera_id}: {found}"

    def _why(self) -> str:
        inside, needed = self.hysteresis.inside, self._limits.resume_frames
        since = f"; since then {inside} of {needed} frames inside" if inside else ""
        return f"camera {self._camera_id}: {self._outside}{since}"

    def _tell(self, alarm: str | None) -> None:
        if alarm is None:
            log.warning("image health: the camera's frames are as learned again; parts are decided on",
                        camera=self._camera_id)  # fmt: skip
        else:
            log.error("image health: parts are UNDECIDED; look at light, lens and mount",
                      camera=self._camera_id, why=alarm)  # fmt: skip


class ImageHealthWatch:
    """Measures every frame; `observe` is the line thread's, `cameras` and `alarms` may be asked by any.

    Args:
        limits: from the station file.
        station_id: named where parts are flagged.
        flag: told of the parts that were decided on by the frames that led to an alarm; must not wait.
    """

    def __init__(
        self,
        limits: ImageHealth,
        *,
        station_id: str = "",
        flag: Callable[[SuspectParts], None] = lambda found: None,
    ) -> None:
        self._limits, self._station_id, self._flag = limits, station_id, flag
        self._watched: dict[str, _Watched] = {}
        self._judge: Judge | None = None
        self._cameras: dict[str, CameraHealth] = {}  # replaced, never changed: others read it

    @property
    def cameras(self) -> tuple[CameraHealth, ...]:
        """Every camera that has given a frame, as it was with its last one."""
        return tuple(self._cameras.values())

    @property
    def alarms(self) -> tuple[str, ...]:
        """Why nothing is decided now; empty while parts are decided."""
        return tuple(camera.alarm for camera in self.cameras if camera.alarm is not None)

    def observe(self, judge: Judge | None, frames: Sequence[Frame], trigger_id: int) -> str | None:
        """Measure a part's frames; return why the part must not be decided, None if it may.

        Args:
            judge: of the part; its recipe says how frames should look. None: nothing is known of that.
            frames: those that came.
            trigger_id: of the part.
        """
        was_well = not self.alarms
        if judge is not self._judge:
            self._judge = judge
            self._watched = {
                camera_id: watched
                for camera_id, watched in self._watched.items()
                if watched.reference == _reference(judge, camera_id)
            }
        now = {frame.camera_id: self._observed(judge, frame, trigger_id) for frame in frames}
        self._cameras = self._cameras | now
        why = "; ".join(self.alarms) or None
        if why is not None and was_well:
            self._flag_before(judge, trigger_id, why)
        return why

    def _flag_before(self, judge: Judge | None, trigger_id: int, why: str) -> None:
        """Flag the parts from the first frame that counts for the alarm on, up to this one."""
        tripped = [one.hysteresis for one in self._watched.values() if one.hysteresis.is_tripped]
        began = (one.outside_since for one in tripped)
        first = min((trigger for trigger in began if trigger is not None), default=trigger_id)
        if judge is None or first == trigger_id:
            return
        self._flag(
            SuspectParts(
                station_id=self._station_id,
                first_trigger_id=first,
                last_trigger_id=trigger_id - 1,
                model_id=judge.model_id,
                runtime=judge.runtime.name,
                why=f"{Reason.IMAGE_HEALTH}: {why}",
            )
        )

    def _observed(self, judge: Judge | None, frame: Frame, trigger_id: int) -> CameraHealth:
        camera_id = frame.camera_id
        if camera_id not in self._watched:
            self._watched[camera_id] = _Watched(camera_id, _reference(judge, camera_id), self._limits)
        return self._watched[camera_id].observe(frame.measures or measure_image(frame.image), trigger_id)


def _reference(judge: Judge | None, camera_id: str) -> ImageReference | None:
    return None if judge is None else judge.recipe.reference(camera_id)
