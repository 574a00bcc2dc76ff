"""What a station is and what a product adds to it: models of files, and the errors people see."""

from partgate_station._camera_region import CameraRegion
from partgate_station._errors import (
    AlreadyRunning,
    CannotWrite,
    ConfigError,
    DataError,
    MissingInput,
    PartgateError,
    Unavailable,
)
from partgate_station._image_reference import ImageReference, PositionReference, Span
from partgate_station._load import load_recipe, load_station
from partgate_station._model import check_name
from partgate_station._near import did_you_mean
from partgate_station._recipe import Recipe, RecipeSettings, Region
from partgate_station._station import (
    Camera,
    CameraTrigger,
    ContinuousTrigger,
    DigitalInputTrigger,
    FeatureValue,
    FolderCamera,
    GenicamCamera,
    Health,
    ImageHealth,
    IntervalTrigger,
    Judging,
    OpenVino,
    Output,
    Records,
    SimulatedOutput,
    StationConfig,
    Trigger,
    VirtualCamera,
    WithoutOutput,
)
from partgate_station._verdict import Thresholds, Verdict
from partgate_station._video import VideoCamera

__all__ = [
    "AlreadyRunning",
    "Camera",
    "CameraRegion",
    "CameraTrigger",
    "CannotWrite",
    "ConfigError",
    "ContinuousTrigger",
    "DataError",
    "DigitalInputTrigger",
    "FeatureValue",
    "FolderCamera",
    "GenicamCamera",
    "Health",
    "ImageHealth",
    "ImageReference",
    "IntervalTrigger",
    "Judging",
    "MissingInput",
    "OpenVino",
    "Output",
    "PartgateError",
    "PositionReference",
    "Recipe",
    "RecipeSettings",
    "Records",
    "Region",
    "SimulatedOutput",
    "Span",
    "StationConfig",
    "Thresholds",
    "Trigger",
    "Unavailable",
    "Verdict",
    "VideoCamera",
    "VirtualCamera",
    "WithoutOutput",
    "check_name",
    "did_you_mean",
    "load_recipe",
    "load_station",
]
