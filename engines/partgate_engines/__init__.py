"""Models: the graph, the bundle, the runtimes, and what is learned."""

from partgate_engines._affinity import keep_process_on, let_go, on_cores, split_of, thread_processors
from partgate_engines._bank import MemoryBank
from partgate_engines._bundle import Bundle
from partgate_engines._cgroup import GroupLimits, group_limits
from partgate_engines._cores import CoreSplit, split_cores
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
    PartNotLocated,
    RuntimeUnavailable,
    SignerRefused,
    TrainingUnavailable,
    WeightsMissing,
    WeightsRefused,
)
from partgate_engines._golden import GoldenFrame
from partgate_engines._machine import Fingerprint, RuntimeFacts, fingerprint_of
from partgate_engines._manifest import (
    Calibration,
    DefectEvidence,
    Manifest,
    RegionEvidence,
    Source,
    ThresholdRule,
)
from partgate_engines._openvino_engines import forget_engines
from partgate_engines._openvino_facts import OpenVinoFacts, openvino_facts
from partgate_engines._openvino_options import OpenVinoOptions
from partgate_engines._openvino_precision import PrecisionChoice, PrecisionTrial, precision_choice
from partgate_engines._parity import FrameParity, ParityReport, answer, disagreement, verify_parity
from partgate_engines._pose import Pose, PoseLimits, PoseReference
from partgate_engines._runtime import AnomalyResult, FrameScore, PreparingRuntime, Runtime, open_runtime
from partgate_engines._signature import PublicKey, Signer, TrustedSigners
from partgate_engines._tensorrt_choice import RuntimeChoice, runtime_choices

__all__ = [
    "AnomalyResult",
    "Bundle",
    "BundleMissing",
    "BundleNotWritten",
    "BundleRefused",
    "Calibration",
    "CoreSplit",
    "DefectEvidence",
    "DeviceFailed",
    "DeviceHung",
    "DeviceOutOfMemory",
    "EngineNotBuilt",
    "Fingerprint",
    "FrameParity",
    "FrameRefused",
    "FrameScore",
    "GoldenFrame",
    "GraphRefused",
    "GroupLimits",
    "ImagesRefused",
    "KeyRefused",
    "Manifest",
    "MemoryBank",
    "NothingToJudge",
    "OpenVinoFacts",
    "OpenVinoOptions",
    "ParityFailed",
    "ParityReport",
    "PartNotLocated",
    "Pose",
    "PoseLimits",
    "PoseReference",
    "PrecisionChoice",
    "PrecisionTrial",
    "PreparingRuntime",
    "PublicKey",
    "RegionEvidence",
    "Runtime",
    "RuntimeChoice",
    "RuntimeFacts",
    "RuntimeUnavailable",
    "Signer",
    "SignerRefused",
    "Source",
    "ThresholdRule",
    "TrainingUnavailable",
    "TrustedSigners",
    "WeightsMissing",
    "WeightsRefused",
    "answer",
    "disagreement",
    "fingerprint_of",
    "forget_engines",
    "group_limits",
    "keep_process_on",
    "let_go",
    "on_cores",
    "open_runtime",
    "openvino_facts",
    "precision_choice",
    "runtime_choices",
    "split_cores",
    "split_of",
    "thread_processors",
    "verify_parity",
]
