"""What a model runs on here: the facts that a proof of parity holds for, and for no others."""

import hashlib
import json
import platform
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict

from partgate_engines._aligned_runtime import unaligned
from partgate_engines._bundle import Bundle
from partgate_engines._runtime import Runtime

FULL_PRECISIONS = frozenset(("f32", "fp32"))
"""What OpenVINO and TensorRT call float32."""

GATE = 3
"""Raise it whenever the bounds of the parity gate change: what was proven by others is proven again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeFacts:
    """What a runtime says of itself."""

    device: str
    """The processor's or graphics card's name."""

    driver: str
    """The version of the device's driver; empty where there is none."""

    version: str
    """Of the runtime's library."""

    precision: str
    """`f32` or `fp32` promise float32 from end to end; any other is held to a reduced one's bounds."""

    capability: str = ""
    """What tells the device from another of the same name; empty where the name says it all."""

    compiled: str = ""
    """How the graph was compiled, beyond the precision; empty where it is compiled in one way."""


@runtime_checkable
class DescribedRuntime(Runtime, Protocol):
    """A runtime that knows what it runs on."""

    @property
    def facts(self) -> RuntimeFacts:
        """What it runs on, and how exactly it counts."""


class Fingerprint(BaseModel):
    """Model, runtime and machine: a proof of parity holds for one of these."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    device: str
    driver: str
    runtime: str
    runtime_version: str
    precision: str
    bundle: str
    graph_sha256: str
    bank_sha256: str
    golden_sha256: str
    # What proofs did not name before holds for nothing now: they are read, and match no machine.
    capability: str = ""
    compiled: str = ""
    gate: int = 1
    """By which bounds."""

    @property
    def digest(self) -> str:
        """SHA-256 of all of it, 64 hex digits."""
        return hashlib.sha256(json.dumps(self.model_dump(), sort_keys=True).encode()).hexdigest()


def fingerprint_of(bundle: Bundle, runtime: Runtime) -> Fingerprint:
    """Return what a proof of parity of this bundle in this runtime, here and now, holds for."""
    runtime = unaligned(runtime)
    facts = runtime.facts if isinstance(runtime, DescribedRuntime) else _unknown(runtime)
    manifest = bundle.manifest
    return Fingerprint(
        device=facts.device,
        driver=facts.driver,
        runtime=runtime.name,
        runtime_version=facts.version,
        precision=facts.precision,
        bundle=bundle.id,
        graph_sha256=manifest.graph_sha256,
        bank_sha256=manifest.bank_sha256,
        golden_sha256=manifest.golden.sha256,
        capability=facts.capability,
        compiled=facts.compiled,
        gate=GATE,
    )


def _unknown(runtime: Runtime) -> RuntimeFacts:
    """Hold a runtime that says nothing of itself to the strictest bounds."""
    return RuntimeFacts(
        device=processor_name(),
        driver="",
        version=type(runtime).__name__,
        precision="f32",
        capability=processor_features(),
    )


@cache
def processor_name() -> str:
    """Return the processor's name, as Linux gives it."""
    return _cpuinfo().get("model name", "") or platform.processor() or platform.machine()


@cache
def processor_features() -> str:
    """Return what tells a processor from another of the same name: its model and all it can do.

    Hypervisors give many processors one name ("Intel(R) Xeon(R) Processor"), and hide features.
    """
    facts = _cpuinfo()
    told = {name: facts[name] for name in _TELLING if name in facts}
    digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
    model = " ".join(facts[name] for name in ("cpu family", "model", "stepping") if name in facts)
    return f"{platform.machine()} {model} {digest[:16]}"


def adds_bytes_exactly(flags: str | None = None) -> bool:
    """Return whether OpenVINO adds up products of bytes without an overflow on this processor.

    On x86 without VNNI it takes an instruction that adds two products in 16 bits and cuts off what does not
    fit: features were 30 % off on an EPYC with AVX2.

    Args:
        flags: what Linux says that an x86 processor can do; None asks it.
    """
    found = set((_cpuinfo().get("flags", "") if flags is None else flags).split())
    return not found or bool(found & _ADD_IN_32_BITS)


_ADD_IN_32_BITS = {"avx512_vnni", "avx_vnni", "amx_int8"}

_TELLING = (
    "vendor_id", "cpu family", "model", "stepping", "flags",
    "CPU implementer", "CPU architecture", "CPU variant", "CPU part", "Features",
)  # fmt: skip


def _cpuinfo() -> dict[str, str]:
    """Return what Linux says of the first processor."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    lines = (line.partition(":") for line in text.partition("\n\n")[0].splitlines())
    return {name.strip(): value.strip() for name, _, value in lines}
