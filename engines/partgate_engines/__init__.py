"""Models: the graph, the bundle, the runtimes, and what is learned."""

from partgate_engines._bank import MemoryBank
from partgate_engines._bundle import Bundle
from partgate_engines._cuda_errors import DeviceFailed, DeviceHung, DeviceOutOfMemory, EngineNotBuilt
from partgate_engines._errors import (
    BundleMissing,
    BundleNotWritten,
    BundleRefused,
    FrameRefused,
    GraphRefused,
    ImagesRefused,
    KeyRefused,
    NothingToJudge,
    ParityFailed,
    RuntimeUnavailable,
    SignerRefused,
    TrainingUnavailable,
    WeightsMissing,
    WeightsRefused,
)
from partgate_engines._golden import GoldenFrame
from partgate_engines._machine import Fingerprint, RuntimeFacts, fingerprint_of
from partgate_engines._manifest import Calibration, DefectEvidence, Manifest, Source
from partgate_engines._parity import FrameParity, ParityReport, disagreement, verify_parity
from partgate_engines._runtime import AnomalyResult, Runtime, open_runtime
from partgate_engines._signature import PublicKey, Signer, TrustedSigners
from partgate_engines._tensorrt_choice import RuntimeChoice, runtime_choices

__all__ = [
    "AnomalyResult",
    "Bundle",
    "BundleMissing",
    "BundleNotWritten",
    "BundleRefused",
    "Calibration",
    "DefectEvidence",
    "DeviceFailed",
    "DeviceHung",
    "DeviceOutOfMemory",
    "EngineNotBuilt",
    "Fingerprint",
    "FrameParity",
    "FrameRefused",
    "GoldenFrame",
    "GraphRefused",
    "ImagesRefused",
    "KeyRefused",
    "Manifest",
    "MemoryBank",
    "NothingToJudge",
    "ParityFailed",
    "ParityReport",
    "PublicKey",
    "Runtime",
    "RuntimeChoice",
    "RuntimeFacts",
    "RuntimeUnavailable",
    "Signer",
    "SignerRefused",
    "Source",
    "TrainingUnavailable",
    "TrustedSigners",
    "WeightsMissing",
    "WeightsRefused",
    "disagreement",
    "fingerprint_of",
    "open_runtime",
    "runtime_choices",
    "verify_parity",
]
