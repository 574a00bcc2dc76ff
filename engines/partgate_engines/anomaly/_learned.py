"""What learning gives, and how it becomes a bundle."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from partgate_engines._bank import MemoryBank
from partgate_engines._bundle import BANK, GRAPH, MANIFEST, Bundle
from partgate_engines._errors import BundleNotWritten, GraphRefused
from partgate_engines._manifest import Calibration, Manifest, Source
from partgate_engines._placement import Grid
from partgate_engines._write import link_or_copy, write_folder
from partgate_station import Region

_LIBRARIES = ("anomalib", "numpy", "onnx", "openvino", "timm", "torch")


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """A product that was learned, or learned better, and is not saved yet."""

    kind: str
    backbone: str
    layers: tuple[str, ...]
    size_px: int
    grid: Grid
    weights_sha256: str
    graph: Path
    """The ONNX graph: in the folder of the graphs, or in the parent's bundle."""

    graph_sha256: str
    """Of the graph that was used; another one is not saved."""

    bank: MemoryBank
    bank_rows_learned: int
    coverage: float
    seed: int
    good: tuple[Source, ...]
    """The good images, in order; `bank.origin` are positions in here."""

    held_out_scores: NDArray[np.float32]
    """(n,) float32, in the order of `good`; not a number where only copies of an image brought rows;
    for one image, one per mirror."""

    calibration: Calibration
    regions: tuple[Region, ...]
    learned_at: datetime
    parent: str | None = None

    def save(self, bundles: Path, *, product: str) -> Bundle:
        """Write the bundle into a folder named by its id; saving twice gives the same bundle.

        Raises:
            BundleNotWritten: the folder cannot be written.
            GraphRefused: the graph has changed since it was used to learn.
        """
        bank = self._bank_bytes()
        manifest = self._manifest(product, bank).model_dump_json(indent=2).encode()
        folder = bundles.absolute() / hashlib.sha256(manifest).hexdigest()
        if not folder.is_dir():
            write_folder(folder, lambda draft: self._fill(draft, bank, manifest))
        return Bundle.open(folder)

    def _fill(self, draft: Path, bank: bytes, manifest: bytes) -> None:
        (draft / BANK).write_bytes(bank)
        (draft / MANIFEST).write_bytes(manifest)
        link_or_copy(self.graph, draft / GRAPH)
        if file_sha256(draft / GRAPH) != self.graph_sha256:
            raise GraphRefused(f"{self.graph}: changed since the product was learned with it; learn it again")

    def _bank_bytes(self) -> bytes:
        from safetensors.numpy import save

        return save({"origin": np.array(self.bank.origin), "rows": np.array(self.bank.rows)})

    def _manifest(self, product: str, bank: bytes) -> Manifest:
        rows, features = self.bank.rows.shape
        return Manifest(
            product=product,
            kind="patchcore",
            backbone=self.backbone,
            layers=self.layers,
            size_px=self.size_px,
            grid=self.grid,
            features=features,
            weights_sha256=self.weights_sha256,
            graph_sha256=self.graph_sha256,
            bank_sha256=hashlib.sha256(bank).hexdigest(),
            bank_rows=rows,
            bank_rows_learned=self.bank_rows_learned,
            coverage=self.coverage,
            seed=self.seed,
            good=self.good,
            regions=self.regions,
            calibration=self.calibration,
            learned_at=self.learned_at,
            parent=self.parent,
            partgate=_version("partgate") or "unknown",
            libraries={name: found for name in _LIBRARIES if (found := _version(name))},
        )


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file.

    Raises:
        BundleNotWritten: it cannot be read back.
    """
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise BundleNotWritten(f"{path}: cannot be read back ({error.strerror})") from error


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
