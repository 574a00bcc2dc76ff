"""The `trigger` setting of a GenICam camera, as features.

Source: the GenICam Standard Features Naming Convention (SFNC), acquisition control.
"""

from collections.abc import Callable, Mapping

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
