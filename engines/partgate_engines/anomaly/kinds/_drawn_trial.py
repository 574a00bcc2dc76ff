"""What the drawn kind says of defects whose family its head was taught, and of those it was not.

Imported only where it is compared with another kind.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from partgate_engines._bank import MemoryBank
from partgate_engines.anomaly._bench import Pairs, Told, few_rows
from partgate_engines.anomaly._export import calm
from partgate_engines.anomaly._images import GoodImage
from partgate_engines.anomaly._settings import Progress
from partgate_engines.anomaly.kinds._drawn_families import (
    FAMILIES,
    ROUNDS,
    TESTED,
    FamilyPictures,
    by_family,
    family_pictures,
    slots_without,
)
from partgate_engines.anomaly.kinds._drawn_graph import USUAL, Head, Layers, Scaling
from partgate_engines.anomaly.kinds._drawn_head import Pictured, train_head
from partgate_engines.anomaly.kinds._drawn_lesson import Looking, halved, head_weight, joined, looking_for
from partgate_engines.anomaly.kinds._drawn_pictures import VIEWS
from partgate_engines.anomaly.kinds._kind import Lesson

STEPS = 100
"""Of every head: with 200 the gains were the same within their errors (docs/decisions/0025)."""

_CLEAN = 1 + VIEWS
_SEEN = np.array([0, *(_CLEAN + turn * len(FAMILIES) + n for turn in TESTED for n in range(len(FAMILIES)))])
_BLANK_ROWS = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shown:
    """What the backbone makes of the pictures of n tiles."""

    layers: Layers
    """Of n * (_CLEAN + ROUNDS * families) pictures, in float16, one tile's after another's."""

    patches: Tensor
    """(n, pictures that are scored, d, gh, gw)."""

    covered: Tensor
    """(n, ROUNDS * families, gh, gw)."""

    masks: Tensor
    """(n, gh, gw)."""

    def lesson(self, positions: NDArray[np.intp], without: int | None) -> Pictured:
        """Return what a head is taught: pictures of some tiles, without those of a family."""
        taught = slots_without(without)
        clean = self._index(positions, np.arange(_CLEAN))
        spoilt = self._index(positions, _CLEAN + taught)
        covered = self.covered[torch.from_numpy(positions)][:, torch.from_numpy(taught)]
        return Pictured(
            clean=_picked(self.layers, clean),
            spoilt=_picked(self.layers, spoilt),
            covered=covered.flatten(0, 1),
        )

    def seen(self, position: int) -> Layers:
        """Return what a head sees of a tile's pictures that are scored, in float32."""
        fine, middle, coarse = _picked(self.layers, self._index(np.array([position]), _SEEN))
        return fine.float(), middle.float(), coarse.float()

    def _index(self, positions: NDArray[np.intp], slots: NDArray[np.intp]) -> Tensor:
        each = _CLEAN + ROUNDS * len(FAMILIES)
        return torch.from_numpy((positions[:, None] * each + slots).ravel().astype(np.int64))


class _Recalled(nn.Module):
    """Stands in for the backbone: what it made of pictures before, whatever is shown."""

    def __init__(self, patches: Tensor, seen: Layers) -> None:
        super().__init__()
        self._made = patches, seen

    def forward(self, pixels: Tensor) -> tuple[Tensor, Layers]:
        """Return it."""
        del pixels
        return self._made


@dataclass(frozen=True, slots=True, kw_only=True)
class Exhibits:
    """Tiles of good parts with what was drawn on them, ready to be judged by the drawn kind."""

    pictures: tuple[FamilyPictures, ...]
    looking: Looking
    shown: _Shown

    def told(self, folds: Pairs, progress: Progress) -> list[Told]:
        """Judge every fold by what was taught the other one.

        Returns:
            What a head says that was taught all families, then what those say that were taught without one.

        Raises:
            GraphRefused: a head's loss is not a number any more.
        """
        with calm():
            of_bank = self._of_banks(folds)
            of_heads = [
                self._of_heads(folds, without, turn, progress)
                for turn, without in enumerate((None, *range(len(FAMILIES))))
            ]
        return [_told(of_bank, of_head, tiled=self._is_tiled) for of_head in of_heads]

    @property
    def _is_tiled(self) -> bool:
        return self.looking.lesson.settings.tile_px is not None

    def _of_banks(self, folds: Pairs) -> NDArray[np.float64]:
        """Return the bank's part of all scores: (n, scored)."""
        found = np.zeros((len(self.pictures), len(_SEEN)))
        untaught = self._untaught()
        for fold, others in folds:
            bank = torch.from_numpy(self._bank(others).augmented())
            for position in fold:
                found[position] = self._score(int(position), bank, untaught, 0.0)
        return found

    def _bank(self, positions: NDArray[np.intp]) -> MemoryBank:
        index = torch.from_numpy(positions)
        plain = self.shown.patches[index, 0].flatten(2).transpose(1, 2).numpy()  # (m, gh * gw, d)
        judged = self.shown.masks[index].flatten(1).numpy() > 0
        origin = np.repeat(positions, judged.sum(axis=1)).astype(np.int32)
        return few_rows(plain[judged], origin, self.looking.lesson.settings.seed)

    def _of_heads(
        self, folds: Pairs, without: int | None, turn: int, progress: Progress
    ) -> NDArray[np.float64]:
        """Return the head's part of all scores, of weight 1: (n, scored)."""
        found = np.zeros((len(self.pictures), len(_SEEN)))
        seed, total = self.looking.lesson.settings.seed, STEPS * len(folds) * (1 + len(FAMILIES))
        blank = torch.zeros(_BLANK_ROWS, self.shown.patches.shape[2] + 1)
        for half, (fold, others) in enumerate(folds):
            head, scaling, _ = train_head(
                self.shown.lesson(np.sort(others), without),
                steps=STEPS,
                seed=seed,
                progress=_after(progress, STEPS * (turn * len(folds) + half), total),
            )
            for position in fold:
                both, bank = (
                    self._score(int(position), blank, (scaling, head), weight) for weight in (1.0, 0.0)
                )
                found[position] = both - bank
        return found

    def _score(
        self, position: int, bank: Tensor, taught: tuple[Scaling, Head], weight: float
    ) -> NDArray[np.float64]:
        """Return what the product's own module says of a tile's pictures, whose features are known."""
        module, (scaling, head) = self.looking.module, taught
        module.taught(scale=1.0, weight=weight, scaling=scaling, head=head)
        made = _Recalled(self.shown.patches[position], self.shown.seen(position))
        side = torch.eye(self.looking.lesson.settings.size_px)
        frames = torch.zeros(1, len(side), len(side), 1, dtype=torch.uint8)
        backbone, module.backbone = module.backbone, made  # type: ignore[assignment]  # stands in for it
        try:
            with torch.no_grad():
                score, _, _ = module(
                    frames, side, side, torch.ones(3, 1), bank, self.shown.masks[position][None]
                )
        finally:
            module.backbone = backbone
        return np.asarray(score.numpy(), dtype=np.float64)

    def _untaught(self) -> tuple[Scaling, Head]:
        layers = self.shown.seen(0)
        return Scaling(layers), Head([layer.shape[1] for layer in layers]).eval()


def exhibits(images: Sequence[GoodImage], lesson: Lesson) -> Exhibits:
    """Draw on one tile of every image.

    Args:
        images: read one at a time.
        lesson: how the drawn kind would learn them.
    """
    random = np.random.default_rng((lesson.settings.seed, 2))
    with calm():
        looking = looking_for(lesson)
        eye = np.eye(lesson.settings.size_px, dtype=np.float32)
        pictures, layers, patches = [], [], []
        for done, image in enumerate(images, start=1):
            made = family_pictures(*looking.tile(image, random), random)
            compared, seen = looking.features(np.concatenate((made.clean, made.spoilt)), eye, eye)
            pictures.append(made)
            layers.append(halved(seen))
            patches.append(compared[torch.from_numpy(_SEEN)])
            lesson.progress("defects to compare", done, len(images))
    shown = _Shown(
        layers=joined(layers),
        patches=torch.stack(patches),
        covered=torch.from_numpy(np.stack([one.covered for one in pictures])),
        masks=torch.from_numpy(np.stack([one.mask for one in pictures])),
    )
    return Exhibits(pictures=tuple(pictures), looking=looking, shown=shown)


def _after(progress: Progress, before: int, total: int) -> Progress:
    """Return what tells of one training as a part of all."""
    return lambda _, done, __: progress("heads to compare", before + done, total)


def _told(of_bank: NDArray[np.float64], of_head: NDArray[np.float64], *, tiled: bool) -> Told:
    """Return the sum of both parts as a product would weigh them."""
    scaled = of_bank * (USUAL / max(float(of_bank[:, 0].mean()), 1e-2))
    scores = scaled + head_weight(scaled[:, 0], of_head[:, 0], tiled=tiled) * of_head
    return Told(clean=scores[:, 0], spoilt=by_family(scores[:, 1:]))


def _picked(layers: Layers, index: Tensor) -> Layers:
    fine, middle, coarse = (layer[index] for layer in layers)
    return fine, middle, coarse
