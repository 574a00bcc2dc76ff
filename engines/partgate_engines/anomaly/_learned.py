"""What learning gives, and how it becomes a bundle."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from partgate_engines._bank import MemoryBank
from partgate_engines._bundle import BANK, GOLDEN, GRAPH, MANIFEST, Bundle
from partgate_engines._errors import BundleNotWritten, GraphRefused
from partgate_engines._golden import GoldenFrame, golden_bytes
from partgate_engines._manifest import (
    Calibration,
    Contrast,
    Golden,
    GoldenEntry,
    GraphPrecision,
    KindName,
    KindTrial,
    Manifest,
    Source,
    Tiling,
    Training,
    Trial,
)
from partgate_engines._pose import PoseReference
from partgate_engines._signature import SIGNATURE, Signer, TrustedSigners
from partgate_engines._tiles import Grid
from partgate_engines._write import link_or_copy, write_folder
from partgate_engines.anomaly._alignment import aligned
from partgate_engines.anomaly._calibrate import counting
from partgate_engines.anomaly._golden_frames import choose_golden
from partgate_engines.anomaly._images import Chosen, GoodImage
from partgate_engines.anomaly._outliers import SetAside
from partgate_engines.anomaly._references import (
    Look,
    Reference,
    module_reference,
    openvino_reference,
    torch_reference,
    was_exported_here,
)
from partgate_engines.anomaly._settle import Settled
from partgate_engines.anomaly._versions import libraries, version_of
from partgate_station import Region


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """A product that was learned, or learned better, and is not saved yet."""

    kind: KindName
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
    tiling: Tiling | None = None
    """None: what is judged is one tile."""

    contrast: Contrast = "global"
    """What the backbone sees."""

    precision: GraphPrecision = "f32"
    """What the graph is computed in."""

    feature_step: float | None = None
    """See the manifest."""

    weighs_regions: bool = True
    """See the manifest; False only of a graph that an older partgate exported."""

    trials: tuple[Trial, ...] = ()
    """What contrast and layers were chosen from; empty where nothing was to be chosen."""

    kind_trial: KindTrial | None = None
    """What the kind was chosen from; None where it was given, or could not be compared."""

    pose: PoseReference | None = None
    """What parts are aligned to; the regions are where they are on it."""

    set_aside: tuple[SetAside, ...] = ()
    """Images that were given as good ones and are not learned; not among `good`."""

    training: Training | None = None
    module: Any = None
    """Of a trained network, the graph in torch, for the references of golden frames."""

    def kept(self, given: Sequence[GoodImage]) -> Sequence[GoodImage]:
        """Return those of the images given to learning that were learned, in order."""
        left_out = {one.position for one in self.set_aside}
        return Chosen(given, [position for position in range(len(given)) if position not in left_out])

    def save(
        self,
        bundles: Path,
        *,
        product: str,
        signer: Signer | None = None,
        good: Sequence[GoodImage] = (),
        weights: Path | None = None,
    ) -> Bundle:
        """Write the bundle into a folder named by its id; saving twice gives the same bundle.

        Its golden frames get their references from torch if this process has just exported the graph
        with it, else from OpenVINO in float32; the manifest says which.

        Args:
            bundles: the folder of the bundles.
            product: its name.
            signer: None leaves the bundle unsigned; no station takes it then.
            good: the images that were learned from, in order; golden frames are chosen among them.
                Without them, only black and white ones are drawn.
            weights: the backbone's file or folder; None for those that come with a package.

        Raises:
            BundleNotWritten: the folder cannot be written.
            GraphRefused: the graph has changed since it was used to learn.
        """
        if file_sha256(self.graph) != self.graph_sha256:
            raise GraphRefused(f"{self.graph}: changed since the product was learned with it; learn it again")
        bank = self._bank_bytes()
        frames, references = self._golden(aligned(good, self.pose), weights)
        golden = golden_bytes(frames)
        manifest = self._manifest(product, bank, _entries(golden, references, frames))
        raw = manifest.model_dump_json(indent=2).encode()
        files = {BANK: bank, GOLDEN: golden, MANIFEST: raw}
        if signer is not None:
            files[SIGNATURE] = signer.sign(raw)
        folder = bundles.absolute() / hashlib.sha256(raw).hexdigest()
        if not folder.is_dir():
            write_folder(folder, lambda draft: self._fill(draft, files))
        return Bundle.open(folder, trusted=None if signer is None else TrustedSigners.only(signer))

    def _fill(self, draft: Path, files: dict[str, bytes]) -> None:
        for name, content in files.items():
            (draft / name).write_bytes(content)
        link_or_copy(self.graph, draft / GRAPH)

    def _golden(self, good: Sequence[GoodImage], weights: Path | None) -> tuple[tuple[GoldenFrame, ...], str]:
        reference = self._reference(weights)
        frames = choose_golden(
            good,
            self.held_out_scores,
            size_px=self.size_px,
            regions=self.regions,
            thresholds=self.calibration.thresholds,
            judge=reference.judge,
        )
        return frames, reference.name

    def _reference(self, weights: Path | None) -> Reference:
        bank = self.bank.augmented()
        look = Look(size_px=self.size_px, grid=self.grid, tiling=self.tiling, regions=self.regions)
        if self.module is not None:
            return module_reference(self.module, bank, look)
        if not was_exported_here():
            return openvino_reference(self.graph, bank, look, precision=self.precision)
        return torch_reference(
            bank,
            look,
            kind=self.kind,
            backbone=self.backbone,
            layers=self.layers,
            contrast=self.contrast,
            precision=self.precision,
            weights=weights,
            weights_sha256=self.weights_sha256,
        )

    def _bank_bytes(self) -> bytes:
        from safetensors.numpy import save

        return save({"origin": np.array(self.bank.origin), "rows": np.array(self.bank.rows)})

    def _manifest(self, product: str, bank: bytes, golden: Golden) -> Manifest:
        rows, columns = self.bank.rows.shape
        return Manifest(
            product=product,
            kind=self.kind,
            backbone=self.backbone,
            layers=self.layers,
            size_px=self.size_px,
            grid=self.grid,
            tiling=self.tiling,
            contrast=self.contrast,
            precision=self.precision,
            feature_step=self.feature_step,
            pose=self.pose,
            trials=self.trials,
            kind_trial=self.kind_trial,
            features=columns - (self.bank.form == "affine"),
            training=self.training,
            weighs_regions=self.weighs_regions,
            weights_sha256=self.weights_sha256,
            graph_sha256=self.graph_sha256,
            bank_sha256=hashlib.sha256(bank).hexdigest(),
            golden=golden,
            bank_rows=rows,
            bank_rows_learned=self.bank_rows_learned,
            coverage=self.coverage,
            seed=self.seed,
            good=self.good,
            regions=self.regions,
            calibration=self.calibration,
            learned_at=self.learned_at,
            parent=self.parent,
            partgate=version_of("partgate") or "unknown",
            libraries=libraries(),
        )


def changed(bundle: Bundle, settled: Settled) -> Learned:
    """Return a bundle's product with another bank and other thresholds; the rest stays as it was learned."""
    manifest = bundle.manifest
    card = manifest.calibration.card
    return Learned(
        kind=manifest.kind,
        backbone=manifest.backbone,
        layers=manifest.layers,
        size_px=manifest.size_px,
        grid=manifest.grid,
        tiling=manifest.tiling,
        contrast=manifest.contrast,
        precision=manifest.precision,
        feature_step=manifest.feature_step,
        pose=manifest.pose,
        trials=manifest.trials,
        kind_trial=manifest.kind_trial,
        weights_sha256=manifest.weights_sha256,
        graph=bundle.graph,
        graph_sha256=manifest.graph_sha256,
        bank=settled.bank,
        bank_rows_learned=manifest.bank_rows_learned,
        coverage=settled.coverage,
        seed=manifest.seed,
        good=settled.sources,
        held_out_scores=settled.scores,
        calibration=counting(settled.calibration, 0 if card is None else card.set_aside),
        regions=settled.regions,
        weighs_regions=manifest.weighs_regions,
        learned_at=datetime.now(UTC),
        parent=bundle.id,
    )


def _entries(golden: bytes, references: str, frames: Sequence[GoldenFrame]) -> Golden:
    return Golden(
        sha256=hashlib.sha256(golden).hexdigest(),
        references=references,
        frames=tuple(GoldenEntry(name=frame.name, score=frame.score) for frame in frames),
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
