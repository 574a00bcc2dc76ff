"""Models: the graph, the bundle, the runtimes, and what is learned."""

from partgate_engines._bank import MemoryBank
from partgate_engines._bundle import Bundle
from partgate_engines._errors import (
    BundleMissing,
    BundleNotWritten,
    BundleRefused,
    FrameRefused,
    GraphRefused,
    ImagesRefused,
    NothingToJudge,
    RuntimeUnavailable,
    TrainingUnavailable,
    WeightsMissing,
    WeightsRefused,
)
from partgate_engines._manifest import Calibration, DefectEvidence, Manifest, Source
from partgate_engines._runtime import AnomalyResult, Runtime, open_runtime

__all__ = [
    "AnomalyResult",
    "Bundle",
    "BundleMissing",
    "BundleNotWritten",
    "BundleRefused",
    "Calibration",
    "DefectEvidence",
    "FrameRefused",
    "GraphRefused",
    "ImagesRefused",
    "Manifest",
    "MemoryBank",
    "NothingToJudge",
    "Runtime",
    "RuntimeUnavailable",
    "Source",
    "TrainingUnavailable",
    "WeightsMissing",
    "WeightsRefused",
    "open_runtime",
]
