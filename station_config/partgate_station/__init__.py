"""What a station is and what a product adds to it: models of files, and the errors people see."""

from partgate_station._errors import (
    AlreadyRunning,
    CannotWrite,
    ConfigError,
    DataError,
    MissingInput,
    PartgateError,
    Unavailable,
)
from partgate_station._load import load_recipe, load_station
from partgate_station._model import check_name
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
    IntervalTrigger,
    OpenVino,
    Records,
    StationConfig,
    Trigger,
    VirtualCamera,
)
from partgate_station._verdict import Thresholds, Verdict

__all__ = [
    "AlreadyRunning",
    "Camera",
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
    "IntervalTrigger",
    "MissingInput",
    "OpenVino",
    "PartgateError",
    "Recipe",
    "RecipeSettings",
    "Records",
    "Region",
    "StationConfig",
    "Thresholds",
    "Trigger",
    "Unavailable",
    "Verdict",
    "VirtualCamera",
    "check_name",
    "load_recipe",
    "load_station",
]
