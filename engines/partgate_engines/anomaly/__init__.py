"""What is learned from good parts."""

from partgate_engines.anomaly._budget import Budget, worst_of_parts
from partgate_engines.anomaly._calibrate import calibrate, calibrate_again
from partgate_engines.anomaly._images import GoodImage
from partgate_engines.anomaly._learn import learn
from partgate_engines.anomaly._learned import Learned
from partgate_engines.anomaly._references import recomputed
from partgate_engines.anomaly._settings import LearnSettings, Progress, quiet
from partgate_engines.anomaly._update import update

__all__ = [
    "Budget",
    "GoodImage",
    "LearnSettings",
    "Learned",
    "Progress",
    "calibrate",
    "calibrate_again",
    "learn",
    "quiet",
    "recomputed",
    "update",
    "worst_of_parts",
]
