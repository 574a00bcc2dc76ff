"""Formats that can run code when they are read: refused by name and by their first bytes."""

from pathlib import Path

from partgate_engines._bundle_files import reading
from partgate_engines._errors import BundleRefused

_SUFFIXES = frozenset(
    (
        ".bin",
        ".ckpt",
        ".dill",
        ".joblib",
        ".mar",
        ".npy",
        ".npz",
        ".pickle",
        ".pkl",
        ".pt",
        ".pt2",
        ".pth",
        ".sav",
    )
)
_PICKLE_PROTOCOLS = tuple(bytes((0x80, protocol)) for protocol in range(2, 6))
_ZIP = b"PK\x03\x04"  # torch, numpy and joblib put their pickles into it
_GZIP = b"\x1f\x8b"


def refuse_pickle(path: Path) -> None:
    """Refuse a file whose name or first bytes are those of a pickle or of a container of pickles.

    Only the first four bytes are read; nothing is unpacked.

    Raises:
        BundleMissing: it is gone.
        BundleRefused: says why, and what to do instead; or it cannot be read.
    """
    with reading(path), path.open("rb") as file:
        start = file.read(4)
    if path.suffix.lower() in _SUFFIXES or start.startswith((*_PICKLE_PROTOCOLS, _ZIP, _GZIP)):
        raise BundleRefused(
            f"{path}: refused: a pickle-based format can run code when it is read; learn the product with"
            " `partgate learn`, which makes a bundle of ONNX and safetensors"
        )
