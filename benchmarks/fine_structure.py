"""Say what tiles are worth where defects are a few pixels large, and what they cost.

    python -m benchmarks.fine_structure [--kind cloth|print] [--tile-px N,N] [--size-px N] [--layers L,L]
        [--contrast global|local] [--model-kind K] [--bank-rows N] [--steps N] [--first N] [--large]

Cloth and print of 640 px, drawn by `_fine_structure`: 100 good parts to learn from, 60 other good ones
and 60 with one defect of 2 to 6 px to score, once as one tile (`--tile-px 0`) and once in tiles. With
--large, frames of 5 Mpx with a defect of 4 px: 12 to learn from, 8 good and 8 defective to score.

What is chosen by its scores here is a little too good on the parts it was chosen on: choose with one
`--first`, report with another. The figures that are written down begin with part 0, and what they are of
was chosen with `--first 20000`.
"""

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np

from benchmarks._fine_scores import Frames, Outcome, outcome
from benchmarks._fine_structure import KINDS
from benchmarks.magnetic_tiles import CONTRASTS, auroc, interval
from partgate_engines._manifest import KindName
from partgate_engines.anomaly import GoodImage, LearnSettings, learn

LARGE = Frames(height_px=2048, width_px=2448, defect_px=4, learned=12, scored=8)
_SIZES_PX = ((2, 3), (3, 4), (4, 6))


def report(name: str, found: Outcome) -> None:
    """Print what came of it."""
    low, high = interval(found.good, found.defective, 0)
    print(f"{name}")
    print(
        f"  AUROC {auroc(found.good, found.defective):.3f} (95 %: {low:.3f} to {high:.3f}),"
        f" {found.good.size} good, {found.defective.size} defective; pixel AUPRO {found.aupro:.3f};"
        f" highest on the defect in {found.found}"
    )
    print(f"  by diameter: {by_diameter(found)}")
    print(f"  at or above review: {found.flagged[0]} good, {found.flagged[1]} defective")
    print(f"  learned in {found.learn_s:.1f} s, {found.frame_ms:.1f} ms a frame", flush=True)


def by_diameter(found: Outcome) -> str:
    """Return the AUROC of small, middle and larger defects."""
    said = []
    for low, high in _SIZES_PX:
        these = (found.diameters_px >= low) & (found.diameters_px <= high)
        if these.any():
            value = auroc(found.good, found.defective[these])
            said.append(f"{low} to {high} px {value:.3f} ({np.count_nonzero(these)})")
    return ", ".join(said)


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare one tile with tiles, or what the options name."""
    options = _parser().parse_args(arguments)
    frames = replace(LARGE if options.large else Frames(), first=options.first)
    settings = LearnSettings(
        kind=options.model_kind,
        layers=tuple(options.layers.split(",")),
        size_px=options.size_px,
        contrast=options.contrast,
        bank_rows=options.bank_rows,
        steps=options.steps,
    )
    with tempfile.TemporaryDirectory(prefix="partgate-fine-") as home:
        first = GoodImage(pixels=frames.part("cloth", 0).pixels, origin="0.png")
        # The export, once per machine; trained kinds begin with this one.
        once = replace(settings, kind="patchcore", steps=None)
        learn([first], settings=once, graphs=Path(home) / "graphs")
        for kind in options.kind or KINDS:
            for tile_px in options.tile_px:
                way = replace(settings, tile_px=tile_px or None)
                looked = f"tiles of {tile_px} px" if tile_px else "one tile"
                name = f"{kind}, {frames.width_px} x {frames.height_px} px, {settings.kind}, {looked}"
                report(name, outcome(frames, kind, way, Path(home)))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fine_structure", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    usual = LearnSettings()
    parser.add_argument("--kind", choices=KINDS, action="append", help="of structure; all if none is named")
    parser.add_argument("--tile-px", type=_lengths, default=(0, 256), help="of the tiles; 0 for one tile")
    parser.add_argument("--size-px", type=int, default=usual.size_px, help="of the graph")
    parser.add_argument("--layers", default=",".join(usual.layers), help="whose features make a patch")
    parser.add_argument(
        "--contrast", choices=CONTRASTS, default=usual.contrast, help="what the backbone sees"
    )
    parser.add_argument(
        "--model-kind", choices=get_args(KindName), default=usual.kind, help="what is learned"
    )
    parser.add_argument("--bank-rows", type=int, default=usual.bank_rows, help="of the memory bank")
    parser.add_argument("--steps", type=int, default=None, help="of a kind that is trained")
    parser.add_argument("--first", type=int, default=0, help="number of the first part that is drawn")
    parser.add_argument(
        "--large", action="store_true", help="frames of 5 Mpx with a defect of 4 px (minutes)"
    )
    return parser


def _lengths(text: str) -> tuple[int, ...]:
    return tuple(int(length) for length in text.split(","))


if __name__ == "__main__":
    raise SystemExit(main())
