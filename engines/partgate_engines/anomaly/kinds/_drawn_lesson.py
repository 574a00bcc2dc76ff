"""From good images to a memory bank, a head and the graph of both. Imported only where one is learned."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from partgate_engines._bank import MemoryBank, without
from partgate_engines._manifest import Source
from partgate_engines._placement import Placement, place
from partgate_engines._tiles import Grid
from partgate_engines.anomaly._backbone import build_model
from partgate_engines.anomaly._coreset import k_centre
from partgate_engines.anomaly._export import Sizes, calm, exported
from partgate_engines.anomaly._images import Chosen, GoodImage, checked
from partgate_engines.anomaly._kinship import kin
from partgate_engines.anomaly._references import Look, module_reference
from partgate_engines.anomaly._settings import Progress
from partgate_engines.anomaly.kinds._drawn import DrawnResult
from partgate_engines.anomaly.kinds._drawn_graph import BANK_SHARE, USUAL, DrawnGraph, Layers
from partgate_engines.anomaly.kinds._drawn_head import BATCH, Pictured, train_head
from partgate_engines.anomaly.kinds._drawn_pictures import DEFECTS, pictures_of
from partgate_engines.anomaly.kinds._kind import Lesson

_LAST = "blocks.6"
_MOST_PICTURED = 200  # good images that defects are drawn on: 500 MB of features
_LARGEST_POOL = 150_000_000  # features kept for the choice of a bank: 600 MB
_WEIGHTS = (0.1, 1.0)  # the least and the most of the head: where a few parts say more, they are too few
# In tiles, whose defects are smaller than what the bank compares: of cloth and print with spots of 2 to 6 px
# the bank alone told 0.57 to 0.80, the head 0.86 to 0.97 (docs/decisions/0028).
_TILED_WEIGHTS = (1.0, 3.0)
_LEAST_USUAL = 1e-2  # of a distance, far below any that two photographs have


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pool:
    rows: NDArray[np.float32]
    origin: NDArray[np.int32]


def drawn_graphs(
    good: Sequence[GoodImage],
    folds: NDArray[np.intp],
    sources: Sequence[Source],
    lesson: Lesson,
    steps: int,
) -> DrawnResult:
    """Choose a bank and train a head, and export the graph of both.

    Args:
        good: read three times, one at a time.
        folds: (n,) the group of each: its images are scored by a head that was taught on the other groups.
        sources: of all, to know which show the same part.
        lesson: how.
        steps: of the training.

    Raises:
        WeightsRefused, GraphRefused, ImagesRefused, ConfigError: as `learn`.
    """
    settings, tiled = lesson.settings, lesson.settings.tile_px is not None
    with calm():
        looking = looking_for(lesson)
        module, grid = looking.module, looking.grid
        pool = looking.pool(good)
        seen = _some_of(np.arange(len(good)), settings.seed)
        pictured = looking.pictured(Chosen(good, seen))
        bank, coverage = _bank(pool, rows=settings.bank_rows, seed=settings.seed)
        scale = USUAL / max(_usual(pool, bank, sources), _LEAST_USUAL)
        scaled = MemoryBank(rows=np.float32(scale) * bank.rows, origin=np.array(bank.origin))
        together, parts = kin(sources), np.full((2, len(good)), np.nan)
        for turn, fold in enumerate(np.unique(folds), start=1):
            others = pictured.of(np.flatnonzero(folds[seen] != fold))
            telling = _named(lesson.progress, f"training, held out {turn}")
            head, scaling, _ = train_head(others, steps=steps, seed=settings.seed, progress=telling)
            for position in np.flatnonzero(folds == fold):
                for which, weight in enumerate((0.0, 1.0)):
                    module.taught(scale=scale, weight=weight, scaling=scaling, head=head)
                    parts[which, position] = looking.score(good[int(position)], scaled, together[position])
        head, scaling, losses = train_head(
            pictured, steps=steps, seed=settings.seed, progress=lesson.progress
        )
        of_bank, of_head = parts[0], parts[1] - parts[0]
        if tiled:
            # What was taken for usual is of all patches, and a score is of the worst tile's.
            again = USUAL / max(float(np.nanmean(of_bank)), _LEAST_USUAL)
            scale, of_bank = again * scale, again * of_bank
            scaled = MemoryBank(rows=np.float32(scale) * bank.rows, origin=np.array(bank.origin))
        weight = head_weight(of_bank, of_head, tiled=tiled)
        module.taught(scale=scale, weight=weight, scaling=scaling, head=head)
    lesson.progress("export", 0, 1)
    content = exported(module, Sizes(size_px=settings.size_px, grid=grid, features=bank.rows.shape[1]))
    lesson.progress("export", 1, 1)
    return DrawnResult(
        module=module,
        content=content,
        grid=grid,
        bank=scaled,
        coverage=scale * coverage,
        scores=(of_bank + weight * of_head).astype(np.float32),
        losses=losses,
        batch=BATCH,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Looking:
    """How images become features."""

    module: DrawnGraph
    lesson: Lesson
    grid: Grid

    def pool(self, good: Sequence[GoodImage]) -> _Pool:
        """Return the judged patches of all images, or an even choice of them where all would be too many."""
        random = np.random.default_rng(self.lesson.settings.seed)
        found: list[NDArray[np.float32]] = []
        for position, image in enumerate(good):
            pixels = checked(image)
            placement = self._place(pixels)
            patches, _ = self.features(placement.cut(pixels), placement.rows, placement.columns)
            rows = patches.flatten(2).transpose(1, 2).flatten(0, 1).numpy()[placement.mask.ravel() > 0]
            most = max(_LARGEST_POOL // (rows.shape[1] * len(good)), 1)
            found.append(rows if len(rows) <= most else rows[np.sort(random.permutation(len(rows))[:most])])
            self.lesson.progress("features", position + 1, len(good))
        counts = [len(rows) for rows in found]
        origin = np.repeat(np.arange(len(found), dtype=np.int32), counts)
        return _Pool(rows=np.concatenate(found), origin=origin)

    def pictured(self, good: Sequence[GoodImage]) -> Pictured:
        """Draw on one tile of every image, and return what the backbone makes of the pictures."""
        random = np.random.default_rng((self.lesson.settings.seed, 1))
        eye = np.eye(self.lesson.settings.size_px, dtype=np.float32)
        layers: list[Layers] = []
        covered: list[NDArray[np.float32]] = []
        for done, image in enumerate(good):
            tile, _ = self.tile(image, random)
            pictures = pictures_of(tile, random)
            _, seen = self.features(np.concatenate((pictures.clean, pictures.spoilt)), eye, eye)
            layers.append(halved(seen))
            covered.append(pictures.covered)
            self.lesson.progress("defects drawn", done + 1, len(good))
        return Pictured(
            clean=joined(layers, lambda layer: layer[:-DEFECTS]),
            spoilt=joined(layers, lambda layer: layer[-DEFECTS:]),
            covered=torch.from_numpy(np.concatenate(covered)),
        )

    def score(self, image: GoodImage, bank: MemoryBank, together: NDArray[np.intp]) -> float:
        """Return an image's score by the module as it is now, without the rows that its like brought."""
        settings = self.lesson.settings
        look = Look(
            size_px=settings.size_px,
            grid=self.grid,
            tiling=settings.tiling(self.grid),
            regions=self.lesson.regions,
        )
        others = without(bank.augmented(), np.isin(bank.origin, together))
        score, _ = module_reference(self.module, others, look).judge(checked(image))
        return score

    def tile(
        self, image: GoodImage, random: np.random.Generator
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Return one of an image's tiles as it is seen, resized: (s, s, c), and its mask: (gh, gw).

        In whole grey levels, good ones like those with defects: a head would find whatever differs.
        """
        pixels = checked(image)
        placement = self._place(pixels)
        tiles = placement.cut(pixels)
        chosen = int(random.integers(len(tiles)))
        tile = tiles[chosen].astype(np.float32)
        small = np.einsum("ah,hwc,wb->abc", placement.rows, tile, placement.columns, optimize=True)
        return np.asarray(np.clip(np.rint(small), 0, 255), dtype=np.uint8), placement.mask[chosen]

    def features(
        self, frames: NDArray[np.uint8], rows: NDArray[np.float32], columns: NDArray[np.float32]
    ) -> tuple[Tensor, Layers]:
        """Return what the bank compares and what the head sees of n pictures, once they are resized."""
        channels = torch.eye(3) if frames.shape[3] == 3 else torch.ones(3, 1)  # noqa: PLR2004 - colours
        found: list[tuple[Tensor, Layers]] = []
        with torch.no_grad():
            for few in torch.split(torch.from_numpy(np.array(frames)), BATCH // 2):
                arrays = torch.from_numpy(np.array(rows)), torch.from_numpy(np.array(columns))
                found.append(self.module.backbone(self.module.resized(few, *arrays, channels)))
        return torch.cat([patches for patches, _ in found]), joined([seen for _, seen in found])

    def _place(self, pixels: NDArray[np.uint8]) -> Placement:
        settings = self.lesson.settings
        return place(
            height_px=pixels.shape[0],
            width_px=pixels.shape[1],
            regions=self.lesson.regions,
            size_px=settings.size_px,
            grid=self.grid,
            tiling=settings.tiling(self.grid),
        )


def looking_for(lesson: Lesson) -> Looking:
    """Open the backbone of a lesson; its graph has not been taught yet."""
    settings = lesson.settings
    model = build_model(
        backbone=settings.backbone, layers=(_LAST,), size_px=settings.size_px, weights=lesson.weights
    )
    model.requires_grad_(requires_grad=False)
    grid = settings.size_px // 16, settings.size_px // 16
    module = DrawnGraph(model, size_px=settings.size_px, grid=grid, tiled=settings.tile_px is not None)
    return Looking(module=module, lesson=lesson, grid=grid)


def head_weight(of_bank: NDArray[np.float64], of_head: NDArray[np.float64], *, tiled: bool) -> float:
    """Return the head's weight: one at which it deviates between good parts as much as the bank does."""
    spread = float(of_head.std())
    return float(np.clip(of_bank.std() / max(spread, 1e-6), *(_TILED_WEIGHTS if tiled else _WEIGHTS)))


def _named(progress: Progress, step: str) -> Progress:
    """Return what tells of a step under another name."""
    return lambda _, done, total: progress(step, done, total)


def _some_of(positions: NDArray[np.intp], seed: int) -> list[int]:
    if len(positions) <= _MOST_PICTURED:
        return [int(position) for position in positions]
    return sorted(int(one) for one in np.random.default_rng(seed).permutation(positions)[:_MOST_PICTURED])


def _bank(pool: _Pool, *, rows: int, seed: int) -> tuple[MemoryBank, float]:
    coreset = k_centre(pool.rows, count=rows, seed=seed)
    bank = MemoryBank(rows=pool.rows[coreset.chosen], origin=pool.origin[coreset.chosen])
    return bank, float(coreset.distance.max())


def _usual(pool: _Pool, bank: MemoryBank, sources: Sequence[Source]) -> float:
    """Return what the worst patches of a good part are away from the rows of other parts, on average."""
    norms = np.einsum("kd,kd->k", bank.rows, bank.rows)
    found = []
    for position, together in enumerate(kin(sources)):
        others = ~np.isin(bank.origin, together)
        patches = pool.rows[pool.origin == position]
        if not others.any() or not len(patches):
            continue
        squares = np.einsum("pd,pd->p", patches, patches)
        nearest = squares + (norms[others] - 2 * patches @ bank.rows[others].T).min(axis=1)
        worst = max(round(BANK_SHARE * len(nearest)), 1)
        found.append(float(np.sqrt(np.abs(np.sort(nearest)[-worst:])).mean()))
    return float(np.mean(found)) if found else USUAL


def halved(layers: Layers) -> Layers:
    """Return what a head sees in half the memory."""
    fine, middle, coarse = (layer.to(torch.float16) for layer in layers)
    return fine, middle, coarse


def joined(several: Sequence[Layers], part: Callable[[Tensor], Tensor] = lambda layer: layer) -> Layers:
    """Return what a head sees of several pictures after each other, or a part of what it sees of each."""
    fine, middle, coarse = (torch.cat([part(layer) for layer in same]) for same in zip(*several, strict=True))
    return fine, middle, coarse
