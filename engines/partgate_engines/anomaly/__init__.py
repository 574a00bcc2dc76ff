"""What is learned from good parts."""

from partgate_engines.anomaly._calibrate import calibrate
from partgate_engines.anomaly._images import GoodImage
from partgate_engines.anomaly._learn import learn
from partgate_engines.anomaly._learned import Learned
from partgate_engines.anomaly._references import recomputed
from partgate_engines.anomaly._settings import LearnSettings, Progress, quiet
from partgate_engines.anomaly._update import update

__all__ = [
    "GoodImage",
    "LearnSettings",
    "Learned",
    "Progress",
    "calibrate",
    "learn",
    "quiet",
    "recomputed",
    "update",
]
