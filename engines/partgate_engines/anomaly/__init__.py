"""What is learned from good parts."""

from partgate_engines.anomaly._alignment import aligned, not_located
from partgate_engines.anomaly._budget import Budget, worst_of_parts
from partgate_engines.anomaly._calibrate import budget_of, calibrate, calibrate_again
from partgate_engines.anomaly._images import DefectImage, GoodImage, fingerprint
from partgate_engines.anomaly._kinship import copy_groups, parts_of
from partgate_engines.anomaly._learn import learn
from partgate_engines.anomaly._learned import Learned
from partgate_engines.anomaly._outliers import SetAside, odd_limit
from partgate_engines.anomaly._provenance import near_duplicates, positions_of, rows_by_image
from partgate_engines.anomaly._references import recomputed
from partgate_engines.anomaly._settings import Choosable, LearnSettings, Progress, quiet
from partgate_engines.anomaly._update import forget, update
from partgate_engines.anomaly._ways import choosable
from partgate_engines.anomaly._witness import Trace, Voucher, Witness

__all__ = [
    "Budget",
    "Choosable",
    "DefectImage",
    "GoodImage",
    "LearnSettings",
    "Learned",
    "Progress",
    "SetAside",
    "Trace",
    "Voucher",
    "Witness",
    "aligned",
    "budget_of",
    "calibrate",
    "calibrate_again",
    "choosable",
    "copy_groups",
    "fingerprint",
    "forget",
    "learn",
    "near_duplicates",
    "not_located",
    "odd_limit",
    "parts_of",
    "positions_of",
    "quiet",
    "recomputed",
    "rows_by_image",
    "update",
    "worst_of_parts",
]
