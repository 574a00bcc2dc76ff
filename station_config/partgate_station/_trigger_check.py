"""Whether a station's trigger and its cameras go together."""

from collections.abc import Iterator

from partgate_station._station import (
    CameraTrigger,
    DigitalInputTrigger,
    GenicamCamera,
    StationConfig,
)


def trigger_problems(station: StationConfig) -> list[str]:
    """Return what would let a frame find its part by luck, each as `where: what, what to do`."""
    problems = list(_triggering_camera(station))
    for number, camera in enumerate(station.cameras):
        if isinstance(camera, GenicamCamera) and camera.is_line_triggered:
            problems.extend(_line_triggered(station, camera, f"cameras[{number}]"))
    return problems


def _triggering_camera(station: StationConfig) -> Iterator[str]:
    trigger = station.trigger
    if not isinstance(trigger, CameraTrigger):
        return
    named = next((c for c in station.cameras if c.camera_id == trigger.camera_id), None)
    if named is None:
        known = ", ".join(station.camera_ids)
        yield f"trigger.camera_id: there is no camera '{trigger.camera_id}' (cameras: {known})"
    elif not isinstance(named, GenicamCamera) or not named.is_line_triggered:
        yield f"trigger.camera_id: camera '{trigger.camera_id}' must be a genicam one with trigger = 'line'"


def _line_triggered(station: StationConfig, camera: GenicamCamera, where: str) -> Iterator[str]:
    trigger = station.trigger
    if isinstance(trigger, CameraTrigger) and trigger.camera_id == camera.camera_id:
        return
    if not isinstance(trigger, CameraTrigger | DigitalInputTrigger):
        yield (
            f"{where}.trigger: camera '{camera.camera_id}' exposes at its line's edges, which trigger.kind"
            f" '{trigger.kind}' knows nothing of; use kind 'camera' or 'digital_input'"
        )
    elif camera.latest_ms is None:
        yield (
            f"{where}.latest_ms: required for camera '{camera.camera_id}' behind a trigger line: how long"
            " after the trigger its frame arrives at the latest"
        )
