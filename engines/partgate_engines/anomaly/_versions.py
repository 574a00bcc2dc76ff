"""Which versions of the libraries are installed."""

from importlib.metadata import PackageNotFoundError, version

_LIBRARIES = ("anomalib", "numpy", "onnx", "openvino", "timm", "torch")


def version_of(package: str) -> str | None:
    """Return the version of a package, None if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def libraries() -> dict[str, str]:
    """Return the versions of the libraries that learning rests on."""
    return {name: found for name in _LIBRARIES if (found := version_of(name))}
