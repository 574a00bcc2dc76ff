"""The `trigger` setting of a GenICam camera, as features.

Source: the GenICam Standard Features Naming Convention (SFNC), acquisition control.
"""

from collections.abc import Callable, Mapping

from partgate_cameras._errors import FeatureError
from partgate_station import FeatureValue, GenicamCamera


def with_trigger(config: GenicamCamera, has: Callable[[str], bool]) -> Mapping[str, FeatureValue]:
    """Return the station file's features with those that its `trigger` stands for.

    The selector comes first, so that the file's own trigger features (activation, delay) are of the frame's
    start; the mode comes last, because many cameras refuse a new source while they wait for the old one.

    Args:
        config: the camera's settings.
        has: whether the camera has a feature: one with a single kind of trigger has no selector, one that
            only runs freely has no mode.
    """
    if config.trigger is None:
        return config.features
    if config.trigger == "free":
        return {**config.features, **({"TriggerMode": "Off"} if has("TriggerMode") else {})}
    first = {"TriggerSelector": "FrameStart"} if has("TriggerSelector") else {}
    source = "Software" if config.trigger == "software" else config.trigger_line
    return {**first, **config.features, "TriggerSource": source, "TriggerMode": "On"}


def check_trigger(config: GenicamCamera, *, waits_for_line: bool, source: str) -> None:
    """Refuse a camera that waits for a line where the station file does not say so, or the other way round.

    Without `trigger` and its features a camera does what was stored in it. Taken for one that runs freely,
    a camera at a line would be asked for a picture of each part and give the one of whatever passed it last.

    Args:
        config: the camera's settings.
        waits_for_line: what the camera is set to, once the features are set.
        source: its TriggerSource.

    Raises:
        FeatureError: says what to write.
    """
    if waits_for_line == config.is_line_triggered:
        return
    what = f"feature TriggerMode: camera {config.camera_id}"
    if waits_for_line:
        raise FeatureError(
            f"{what} is set to wait for its input '{source}', and the station file does not say so;"
            f" write trigger = 'line' and trigger_line = '{source}', or trigger = 'software' or 'free'"
        )
    raise FeatureError(
        f"{what} is to wait for a line by the station file, and does not (its TriggerSource is '{source}');"
        " write trigger = 'line' and, as trigger_line, the camera's name of its input"
    )
