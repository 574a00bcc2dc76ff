"""From the station file to cameras and triggers that know of each other."""

from collections.abc import Sequence
from dataclasses import dataclass

from partgate.line._camera_trigger import CameraTriggers
from partgate.line._digital_input import DigitalInput, SimulatedInput
from partgate.line._finders import FrameFinder, GrabbedFrames
from partgate.line._line_camera import KnownTriggers, LineCamera
from partgate.line._matching import Window
from partgate.line._triggers import Continuous, Interval, TriggerSource
from partgate_cameras import ProcessCamera
from partgate_station import Camera as CameraConfig
from partgate_station import (
    CameraTrigger,
    ConfigError,
    ContinuousTrigger,
    DigitalInputTrigger,
    GenicamCamera,
    IntervalTrigger,
    StationConfig,
    VideoCamera,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wiring:
    """What a line works with."""

    finders: tuple[FrameFinder, ...]
    """One per camera, in the order of the file."""

    triggers: TriggerSource

    def close(self) -> None:
        """Stop what reads triggers; the cameras stay open."""
        if isinstance(self.triggers, DigitalInput):
            self.triggers.close()


def wire(config: StationConfig, cameras: Sequence[ProcessCamera]) -> Wiring:
    """Return a station's triggers and what finds each camera's frames.

    Args:
        config: checked by `load_station`.
        cameras: in the order of the file.

    Raises:
        ConfigError: a camera behind a trigger line, and nothing that knows of its edges.
    """
    triggers = trigger_source(config, cameras)
    finders = tuple(
        _finder(settings, camera, triggers) for settings, camera in zip(config.cameras, cameras, strict=True)
    )
    return Wiring(finders=finders, triggers=triggers)


def trigger_source(config: StationConfig, cameras: Sequence[ProcessCamera]) -> TriggerSource:
    """Return the trigger source that the station file names."""
    match config.trigger:
        case IntervalTrigger(period_s=period_s):
            return Interval(period_s=period_s)
        case ContinuousTrigger(waiting_parts=waiting_parts):
            return Continuous(waiting_parts=waiting_parts)
        case CameraTrigger(camera_id=camera_id, delay_ms=delay_ms):
            camera = next(camera for camera in cameras if camera.camera_id == camera_id)
            return CameraTriggers(camera, delay_s=delay_ms / 1000)
        case DigitalInputTrigger() as said:
            return DigitalInput(
                SimulatedInput(period_s=said.simulated_period_s),
                debounce_s=said.debounce_ms / 1000,
                waiting_parts=said.waiting_parts,
            )


def _finder(settings: CameraConfig, camera: ProcessCamera, triggers: TriggerSource) -> FrameFinder:
    if isinstance(triggers, CameraTriggers) and triggers.camera_id == settings.camera_id:
        return triggers
    if not isinstance(settings, GenicamCamera | VideoCamera):
        return GrabbedFrames(camera)
    earliest_s = settings.earliest_ms / 1000
    latest_s = None if settings.latest_ms is None else settings.latest_ms / 1000
    if isinstance(settings, VideoCamera) or not settings.is_line_triggered:
        is_device = not isinstance(settings, VideoCamera) or settings.is_live
        return GrabbedFrames(camera, earliest_s=earliest_s, latest_s=latest_s, is_device=is_device)
    if latest_s is None or not isinstance(triggers, CameraTriggers | DigitalInput):
        raise ConfigError(
            f"camera {settings.camera_id}: behind a trigger line it needs latest_ms, and a trigger of kind"
            " 'camera' or 'digital_input'"
        )
    known: KnownTriggers = triggers
    return LineCamera(camera, Window(earliest_s=earliest_s, latest_s=latest_s), known)
