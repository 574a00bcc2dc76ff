"""Which runtimes this machine has, and why not the others."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal, TypeVar

import structlog

from partgate_engines._cuda import DeviceFacts
from partgate_engines._errors import RuntimeUnavailable
from partgate_engines._tensorrt_api import TensorRt, find_tensorrt, missing_wheel

log = structlog.get_logger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeChoice:
    """One runtime on this machine."""

    kind: Literal["openvino", "tensorrt"]
    usable: bool
    why: str
    """What it would run on; if it is not usable, everything that is missing and what to install."""


def gpu_facts() -> DeviceFacts:
    """Return what the first GPU is.

    Raises:
        RuntimeUnavailable: PyCUDA, the driver or the GPU is missing.
    """
    from partgate_engines._cuda_pycuda import facts_of, load_driver

    return facts_of(load_driver())


def runtime_choices(
    facts_here: Callable[[], DeviceFacts] = gpu_facts, wheel_here: Callable[[], TensorRt] = find_tensorrt
) -> tuple[RuntimeChoice, ...]:
    """Return every runtime, the one that `auto` prefers first. Opens no device."""
    return tensorrt_choice(facts_here, wheel_here), openvino_choice()


def openvino_choice() -> RuntimeChoice:
    """Return whether OpenVINO is there."""
    if find_spec("openvino") is None:
        return RuntimeChoice(
            kind="openvino", usable=False, why="openvino is not installed; install partgate again"
        )
    return RuntimeChoice(kind="openvino", usable=True, why="on the CPU")


def tensorrt_choice(
    facts_here: Callable[[], DeviceFacts] = gpu_facts, wheel_here: Callable[[], TensorRt] = find_tensorrt
) -> RuntimeChoice:
    """Return whether a GPU, PyCUDA and a wheel that serves the GPU are there; all that is missing else."""
    missing: list[str] = []
    facts = _or_missing(facts_here, missing)
    # Without a GPU, whether a wheel is there is told without importing one: it takes half a second.
    wheel = _or_missing(wheel_here if facts else _wheel_there, missing)
    if facts and wheel and not wheel.serves(facts.capability):
        missing.append(
            f"{wheel} does not serve {facts.name} (compute capability {facts.capability}); install tensorrt"
        )
    if facts and wheel and not missing:
        why = f"on {facts.name} (compute capability {facts.capability}, driver {facts.driver}) by {wheel}"
        return RuntimeChoice(kind="tensorrt", usable=True, why=why)
    return RuntimeChoice(kind="tensorrt", usable=False, why="; ".join(missing))


def choose(choices: tuple[RuntimeChoice, ...] | None = None) -> Literal["openvino", "tensorrt"]:
    """Return what `auto` means on this machine, and log it with the reason: TensorRT before OpenVINO.

    Raises:
        RuntimeUnavailable: there is none.
    """
    found = runtime_choices() if choices is None else choices
    usable = [choice for choice in found if choice.usable]
    if not usable:
        reasons = "; ".join(f"{choice.kind}: {choice.why}" for choice in found)
        raise RuntimeUnavailable(f"no runtime on this machine: {reasons}")
    passed_over = {choice.kind: choice.why for choice in found if not choice.usable}
    log.info("runtime.chosen", kind=usable[0].kind, why=usable[0].why, not_usable=passed_over)
    return usable[0].kind


def require_tensorrt(choice: RuntimeChoice | None = None) -> None:
    """Refuse if the runtime tensorrt, which was asked for by name, cannot run here.

    Raises:
        RuntimeUnavailable: with everything that is missing and what to install.
    """
    found = tensorrt_choice() if choice is None else choice
    if not found.usable:
        raise RuntimeUnavailable(f'runtime tensorrt: {found.why}; or use runtime = "openvino"')


def _wheel_there() -> None:
    missing = missing_wheel()
    if missing:
        raise RuntimeUnavailable(missing)


def _or_missing(find: Callable[[], T], missing: list[str]) -> T | None:
    try:
        return find()
    except RuntimeUnavailable as error:
        missing.append(str(error))
        return None
