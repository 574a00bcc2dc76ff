"""A bundle: the folder of a learned model, verified before any of it is parsed."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from partgate_engines._bank import EVERY_IMAGE, MemoryBank
from partgate_engines._bundle_files import opened, read_tensors, reading
from partgate_engines._errors import BundleMissing, BundleRefused
from partgate_engines._golden import GoldenFrame, read_golden
from partgate_engines._graph_check import check_graph
from partgate_engines._manifest import FORMAT, Manifest
from partgate_engines._refused import refuse_pickle
from partgate_engines._signature import SIGNATURE, TrustedSigners
from partgate_engines._tiles import inspected_box, lay_out

MANIFEST = "manifest.json"
GRAPH = "graph.onnx"
BANK = "bank.safetensors"
GOLDEN = "golden.safetensors"
_FILES = frozenset((BANK, GOLDEN, GRAPH, MANIFEST))

# Bytes, far beyond what is learned: protobuf reads no larger graph, a bank is chosen from 600 MB of
# features, and golden frames are `LARGEST_GOLDEN` of pixels, or a single frame, with their maps.
_LARGEST = {MANIFEST: 16 * 2**20, GRAPH: 2 * 2**30, BANK: 2**30, GOLDEN: 2 * 2**30}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A verified bundle. Its files are never changed; a change is another bundle."""

    folder: Path
    id: str
    """SHA-256 of the manifest, which holds those of the other files."""

    manifest: Manifest
    signer: str | None
    """Who signed it, as that signer is known here; None if nobody was asked for."""

    @classmethod
    def open(cls, folder: Path, *, trusted: TrustedSigners | None) -> Self:
        """Verify a bundle's folder and read its manifest.

        In this order: which files there are, the manifest's signature, the manifest, the hashes of the
        other files. Nothing is parsed before it is known to be what somebody trusted signed; the graph is
        looked into where it is about to be parsed (`graph_bytes`), which a start with a compiled graph
        never does.

        Args:
            folder: of the bundle.
            trusted: whose bundles may be opened; None asks for no signature, and then only the hashes
                say that the files belong together: for bundles of which a person said so.

        Raises:
            BundleMissing: there is no such folder, or no manifest in it.
            BundleRefused: nobody trusted signed it, it was changed after it was made, holds more or
                less than a bundle's files, one that is too large, or anything that can run code; or it
                cannot be read.
        """
        folder = _absolute(folder)
        with reading(folder):
            _check_files(folder)
        raw = _read(folder / MANIFEST)
        signer = None if trusted is None else trusted.verify(folder / SIGNATURE, raw)
        digest = hashlib.sha256(raw).hexdigest()
        if re.fullmatch(r"[0-9a-f]{64}", folder.name) and folder.name != digest:
            raise BundleRefused(
                f"{folder / MANIFEST}: changed since the bundle was made: its SHA-256 is {digest}"
            )
        manifest = _parse(folder / MANIFEST, raw)
        _check_digest(folder / GRAPH, manifest.graph_sha256)
        _check_digest(folder / BANK, manifest.bank_sha256)
        _check_digest(folder / GOLDEN, manifest.golden.sha256)
        return cls(folder=folder, id=digest, manifest=manifest, signer=signer)

    @property
    def graph(self) -> Path:
        """The ONNX graph's file. Who parses it takes `graph_bytes`."""
        return self.folder / GRAPH

    def graph_bytes(self) -> bytes:
        """Read the graph for a parser: verified again, and checked to be no more than a graph.

        Raises:
            BundleRefused: the file was changed since the bundle was opened, or holds what no graph of
                ours needs: other operators, data outside the file, control flow.
        """
        raw = _read_checked(self.graph, self.manifest.graph_sha256)
        check_graph(self.graph, raw, self.manifest)
        return raw

    def bank(self) -> MemoryBank:
        """Read the memory bank, verified again: time has passed since the bundle was opened.

        Raises:
            BundleRefused: the file was changed, or holds something else than the manifest says.
        """
        path = self.folder / BANK
        return read_bank(path, _read_checked(path, self.manifest.bank_sha256), self.manifest)

    def golden(self) -> tuple[GoldenFrame, ...]:
        """Read the golden frames, verified again, the most telling first.

        Raises:
            BundleRefused: the file was changed, or holds something else than the manifest says.
        """
        path, golden = self.folder / GOLDEN, self.manifest.golden
        return read_golden(path, _read_checked(path, golden.sha256), golden, self._map_shape)

    def _map_shape(self, height_px: int, width_px: int) -> tuple[int, int]:
        manifest = self.manifest
        box = inspected_box(manifest.regions, width_px=width_px, height_px=height_px)
        return lay_out(box, manifest.grid, manifest.tiling).shape


def read_bank(path: Path, raw: bytes, manifest: Manifest) -> MemoryBank:
    """Read a memory bank from a safetensors file's bytes.

    Raises:
        BundleRefused: it is not what the manifest says.
    """
    tensors: dict[str, NDArray[Any]] = read_tensors(path, raw)
    if set(tensors) != {"origin", "rows"}:
        raise BundleRefused(f"{path}: holds {', '.join(sorted(tensors))}; expected origin and rows")
    bank = MemoryBank(rows=tensors["rows"], origin=tensors["origin"], form=manifest.bank_form)
    wanted = (manifest.bank_rows, manifest.bank_columns)
    if bank.rows.shape != wanted:
        raise BundleRefused(f"{path}: a bank of {bank.rows.shape}; the manifest says {wanted}")
    if bank.origin.min() < _least_origin(manifest) or bank.origin.max() >= manifest.n_good:
        raise BundleRefused(f"{path}: origins {np.unique(bank.origin)[[0, -1]]} of {manifest.n_good} images")
    return bank


def _least_origin(manifest: Manifest) -> int:
    return EVERY_IMAGE if manifest.bank_form == "affine" else 0


def _absolute(folder: Path) -> Path:
    try:
        return folder.expanduser().absolute()
    except RuntimeError as error:  # ~NAME of nobody on this machine
        raise BundleMissing(f"{folder}: no such bundle ({error})") from error


def _check_files(folder: Path) -> None:
    if folder.is_file():
        refuse_pickle(folder)
        raise BundleRefused(f"{folder}: a file; a bundle is a folder with {', '.join(sorted(_FILES))}")
    if not folder.is_dir():
        raise BundleMissing(f"{folder}: no such bundle")
    for path in sorted(folder.iterdir()):
        if path.is_symlink() or not path.is_file():
            raise BundleRefused(f"{path}: refused: a bundle holds plain files, not links or folders")
        refuse_pickle(path)
        if path.name not in _FILES | {SIGNATURE}:
            raise BundleRefused(
                f"{path}: refused: a bundle holds {', '.join(sorted(_FILES))}, {SIGNATURE} and nothing else"
            )
    missing = [name for name in sorted(_FILES) if not (folder / name).is_file()]
    if missing:
        raise BundleMissing(f"{folder}: not a bundle: {', '.join(missing)} missing")


def _read(path: Path) -> bytes:
    with opened(path, largest=_LARGEST[path.name]) as file:
        return file.read()


def _parse(path: Path, raw: bytes) -> Manifest:
    try:
        return Manifest.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"]) or "file"
        if where == "format":
            raise BundleRefused(
                f"{path}: format {first['input']!r}; this partgate reads format {FORMAT}: update partgate, or"
                " learn the product again"
            ) from error
        raise BundleRefused(
            f"{path}: {where}: {first['msg']} (and {error.error_count() - 1} more)"
        ) from error


def _check_digest(path: Path, expected: str) -> None:
    """Verify a file that is not read now, without taking it into memory."""
    with opened(path, largest=_LARGEST[path.name]) as file:
        _compare(path, hashlib.file_digest(file, "sha256").hexdigest(), expected)


def _read_checked(path: Path, expected: str) -> bytes:
    raw = _read(path)
    _compare(path, hashlib.sha256(raw).hexdigest(), expected)
    return raw


def _compare(path: Path, found: str, expected: str) -> None:
    if found != expected:
        raise BundleRefused(f"{path}: changed or damaged: SHA-256 {found}, the manifest says {expected}")
