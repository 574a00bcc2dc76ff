"""What OpenVINO can do on this machine, for a person who asks."""

from dataclasses import dataclass

from partgate_engines._openvino_device import library

# Of what it lists, the precisions; the rest are ways to compute.
_PRECISIONS = ("FP32", "BF16", "FP16", "INT8")


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenVinoFacts:
    """OpenVINO, as it is installed here."""

    version: str
    precisions: tuple[str, ...]
    """In which this processor computes by itself; the others are computed in one of these."""


def openvino_facts() -> OpenVinoFacts:
    """Return OpenVINO's version and the precisions that it offers on this processor.

    Raises:
        RuntimeUnavailable: it is not installed.
    """
    openvino = library()
    offered = set(openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"))
    return OpenVinoFacts(
        version=str(openvino.__version__), precisions=tuple(name for name in _PRECISIONS if name in offered)
    )
