"""Learn the magnetic tiles and say how well defective ones are told apart.

    python -m benchmarks.magnetic_tiles [--data DIR] [--seed N] [--layers L,L] [--size-px N] [--anomalib]
        [--contrast global|local] [--split grouped|parts] [--count N] [--kind K] [--steps N] [--every N]
        [--table]

Good photographs are sorted by the number in their names (`exp1_num_12345.jpg`). The
exposures of one tile follow each other within a few dozen; tiles lie hundreds apart, so a gap of more
than 250 begins a new tile. Tiles are shuffled by a fixed seed, and no tile is learned from and scored.

    grouped  the exposures of the first tiles, 100 images, are learned from, those of the next, 150
             images, are scored: about 17 tiles and 25
    parts    one exposure each of 100 tiles is learned from; the exposures of the others, at most 150
             images, are scored: what "100 good parts" means on a line

`--count 20` learns from 20 of those 100 images: grouped from all the tiles in turn, parts from 20 tiles.
All defective images are scored, with `--every N` each N-th of a class. Exposures of one tile are no
independent witnesses, so errors come from drawing tiles, not images.
"""

import argparse
import itertools
import re
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from partgate_engines import Bundle, open_runtime
from partgate_engines._manifest import KindName
from partgate_engines.anomaly import GoodImage, LearnSettings, learn

DEFECTS = ("blowhole", "break", "crack", "fray", "uneven")
GAP = 250
N_LEARN, N_GOOD = 100, 150

CONTRASTS: tuple[Literal["global", "local"], ...] = ("global", "local")
TABLE_SEEDS = (0, 1, 2)

Pixels = NDArray[np.uint8]
Scores = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """The files of one run."""

    learn: Sequence[Path]
    good: Sequence[Path]
    defective: Mapping[str, Sequence[Path]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one way of learning made of the split."""

    learn_s: float
    image_ms: float
    """Median of one image, decoded to scored."""

    good: Scores
    defective: dict[str, Scores]


def number(path: Path) -> int:
    found = re.search(r"_num_(\d+)", path.stem)
    if found is None:
        raise SystemExit(f"{path}: expected a name like exp1_num_12345.jpg")
    return int(found[1])


def tiles(paths: Sequence[Path]) -> list[list[Path]]:
    groups: list[list[Path]] = []
    before = None
    for path in sorted(paths, key=number):
        if before is None or number(path) - before > GAP:
            groups.append([])
        groups[-1].append(path)
        before = number(path)
    return groups


def split(data: Path, seed: int) -> Split:
    groups = tiles(list((data / "good").glob("*.jpg")))
    chosen: tuple[list[Path], list[Path]] = ([], [])
    wanted = (N_LEARN, N_GOOD)
    turn = 0
    for index in np.random.default_rng(seed).permutation(len(groups)):
        if len(chosen[turn]) == wanted[turn]:
            turn += 1
        if turn == len(wanted):
            break
        chosen[turn].extend(groups[index][: wanted[turn] - len(chosen[turn])])
    defective = {kind: sorted((data / kind).glob("*.jpg")) for kind in DEFECTS}
    return Split(learn=chosen[0], good=chosen[1], defective=defective)


def fewer(parts: Split, count: int) -> Split:
    """Return the split with `count` images to learn from, spread over its tiles."""
    order = {path: index for index, path in enumerate(parts.learn)}
    groups = sorted(tiles(parts.learn), key=lambda group: min(order[path] for path in group))
    rounds = itertools.zip_longest(*groups)
    in_turn = [path for exposures in rounds for path in exposures if path is not None]
    return replace(parts, learn=in_turn[:count])


def parts_split(data: Path, seed: int) -> Split:
    """Return one exposure each of 100 tiles, and the exposures of the other tiles."""
    groups = tiles(list((data / "good").glob("*.jpg")))
    random = np.random.default_rng(1000 + seed)
    order = random.permutation(len(groups))
    learned = [groups[index][random.integers(len(groups[index]))] for index in order[:N_LEARN]]
    good = [path for index in order[N_LEARN:] for path in groups[index]][:N_GOOD]
    defective = {kind: sorted((data / kind).glob("*.jpg")) for kind in DEFECTS}
    return Split(learn=learned, good=good, defective=defective)


def read(path: Path) -> Pixels:
    pixels = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if pixels is None:
        raise SystemExit(f"{path}: cannot be read")
    return np.asarray(pixels, dtype=np.uint8)


def ours(parts: Split, settings: LearnSettings) -> tuple[Outcome, Bundle]:
    with tempfile.TemporaryDirectory(prefix="partgate-tiles-") as home:
        graphs = Path(home) / "graphs"
        images = [GoodImage(pixels=read(path), origin=path.name) for path in parts.learn]
        # The export, once per machine; trained kinds export after every training, and begin with this one.
        learn(images[:1], settings=replace(settings, kind="patchcore", steps=None), graphs=graphs)
        started = time.perf_counter()
        bundle = learn(images, settings=settings, graphs=graphs).save(Path(home) / "bundles", product="tile")
        learn_s = time.perf_counter() - started
        runtime = open_runtime(bundle)
        took: list[float] = []

        def score(paths: Sequence[Path]) -> Scores:
            scores = []
            for path in paths:
                pixels = read(path)
                begun = time.perf_counter()
                scores.append(runtime.judge(pixels).score)
                took.append(1000 * (time.perf_counter() - begun))
            return np.array(scores)

        good = score(parts.good)
        defective = {kind: score(paths) for kind, paths in parts.defective.items()}
        runtime.close()
    return Outcome(learn_s=learn_s, image_ms=float(np.median(took)), good=good, defective=defective), bundle


def anomalibs(parts: Split, settings: LearnSettings) -> Outcome:
    """Learn and score by anomalib's own PatchCore in torch: same weights, layers, size and bank."""
    import torch
    from anomalib.models.image.patchcore.torch_model import PatchcoreModel
    from torchvision.transforms import v2  # type: ignore[import-untyped]  # it ships no annotations

    from partgate_engines.anomaly._backbone import build_model
    from partgate_engines.anomaly._weights import find_weights

    torch.manual_seed(settings.seed)
    weights = find_weights(settings.backbone, None)
    model: PatchcoreModel = build_model(
        backbone=settings.backbone, layers=settings.layers, size_px=settings.size_px, weights=weights
    )
    resize = v2.Resize((settings.size_px, settings.size_px), antialias=True)
    normalize = v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

    def prepared(path: Path) -> torch.Tensor:
        grey = torch.from_numpy(read(path)).float() / 255
        return torch.as_tensor(normalize(resize(grey.expand(1, 3, *grey.shape))))

    started = time.perf_counter()
    model.train()
    with torch.no_grad():
        for path in parts.learn:
            model(prepared(path))
    patches = sum(len(rows) for rows in model.embedding_store)
    model.subsample_embedding(settings.bank_rows / patches)
    model.eval()
    learn_s = time.perf_counter() - started
    took: list[float] = []

    def score(paths: Sequence[Path]) -> Scores:
        scores = []
        for path in paths:
            begun = time.perf_counter()
            with torch.inference_mode():
                scores.append(float(model(prepared(path)).pred_score))
            took.append(1000 * (time.perf_counter() - begun))
        return np.array(scores)

    good = score(parts.good)
    defective = {kind: score(paths) for kind, paths in parts.defective.items()}
    return Outcome(learn_s=learn_s, image_ms=float(np.median(took)), good=good, defective=defective)


def auroc(good: Scores, bad: Scores) -> float:
    """Return the chance that a defective image scores higher than a good one; a tie counts half."""
    higher = (bad[:, None] > good[None, :]).mean()
    return float(higher + (bad[:, None] == good[None, :]).mean() / 2)


def interval(good: Scores, bad: Scores, seed: int, rounds: int = 1000) -> tuple[float, float]:
    random = np.random.default_rng(seed)
    values = [auroc(random.choice(good, good.size), random.choice(bad, bad.size)) for _ in range(rounds)]
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def by_tile(paths: Sequence[Path]) -> list[NDArray[np.intp]]:
    """Return the positions of each tile's images."""
    position = {path: index for index, path in enumerate(paths)}
    return [np.array([position[path] for path in group]) for group in tiles(paths)]


def tile_error(parts: Split, outcome: Outcome, seed: int, rounds: int = 300) -> float:
    """Return the standard error of the AUROC over draws of tiles, good and defective ones."""
    random = np.random.default_rng(seed)
    good = [outcome.good[places] for places in by_tile(parts.good)]
    bad = [
        scores[places]
        for kind, scores in outcome.defective.items()
        for places in by_tile(parts.defective[kind])
    ]

    def drawn(groups: Sequence[Scores]) -> Scores:
        return np.concatenate([groups[index] for index in random.integers(len(groups), size=len(groups))])

    return float(np.std([auroc(drawn(good), drawn(bad)) for _ in range(rounds)]))


def report(name: str, parts: Split, outcome: Outcome, seed: int) -> None:
    bad = np.concatenate(list(outcome.defective.values()))
    low, high = interval(outcome.good, bad, seed)
    print(f"{name}")
    print(
        f"  AUROC {auroc(outcome.good, bad):.3f} (95 %: {low:.3f} to {high:.3f}), {outcome.good.size} good,",
        end=" ",
    )
    print(f"{bad.size} defective; standard error over tiles {tile_error(parts, outcome, seed):.3f}")
    for kind, scores in outcome.defective.items():
        print(f"    {kind:9} {auroc(outcome.good, scores):.3f}  ({scores.size})")
    print(f"  learned in {outcome.learn_s:.1f} s, {outcome.image_ms:.1f} ms an image")


def report_thresholds(outcome: Outcome, bundle: Bundle) -> None:
    calibration = bundle.manifest.calibration
    thresholds, held_out = calibration.thresholds, np.array(calibration.scores)
    bad = np.concatenate(list(outcome.defective.values()))
    print(f"  thresholds: review {thresholds.review:.2f}, reject {thresholds.reject:.2f}")
    for name, scores in (("good", outcome.good), ("defective", bad)):
        flagged, rejected = (scores >= thresholds.review).mean(), (scores >= thresholds.reject).mean()
        print(f"    of the {name}: {flagged:.1%} at or above review, {rejected:.1%} at or above reject")
    shares = (0.1, 0.5, 0.9, 1.0)
    print(f"  held-out scores at {shares}: {np.quantile(held_out, shares).round(2)}")
    print(f"  other good ones at {shares}: {np.quantile(outcome.good, shares).round(2)}")


def table(data: Path, settings: LearnSettings) -> None:
    """Print the AUROC of grey levels and of local contrast, from 20 and from 100 images."""
    print("| split | good images | contrast | AUROC, mean of the seeds | by seed | error over tiles |")
    print("|---|---|---|---|---|---|")
    for name, count, contrast in itertools.product(SPLITS, (20, N_LEARN), CONTRASTS):
        found, errors = [], []
        for seed in TABLE_SEEDS:
            parts = fewer(SPLITS[name](data, seed), count)
            outcome, _ = ours(parts, replace(settings, contrast=contrast, seed=seed))
            found.append(auroc(outcome.good, np.concatenate(list(outcome.defective.values()))))
            errors.append(tile_error(parts, outcome, seed))
        seeds = ", ".join(f"{value:.3f}" for value in found)
        print(
            f"| {name} | {count} | {contrast} | {np.mean(found):.3f} | {seeds} | {np.mean(errors):.3f} |",
            flush=True,
        )


SPLITS: Mapping[str, Callable[[Path, int], Split]] = {"grouped": split, "parts": parts_split}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="magnetic_tiles", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    beside = Path(__file__).resolve().parents[2] / "shared" / "datasets" / "magnetic_tile"
    parser.add_argument("--data", type=Path, default=beside, help="the data set's folder")
    parser.add_argument("--seed", type=int, default=0, help="of the split and of the choice of the bank")
    usual = LearnSettings()
    parser.add_argument("--layers", default=",".join(usual.layers), help="whose features make a patch")
    parser.add_argument("--size-px", type=int, default=usual.size_px, help="of the backbone's input")
    parser.add_argument(
        "--contrast", choices=CONTRASTS, default=usual.contrast, help="what the backbone sees"
    )
    parser.add_argument("--split", choices=tuple(SPLITS), default="grouped", help="see above")
    parser.add_argument("--count", type=int, default=N_LEARN, help="good images to learn from, at most 100")
    parser.add_argument("--kind", choices=get_args(KindName), default=usual.kind, help="what is learned")
    parser.add_argument("--steps", type=int, default=None, help="of a kind that is trained")
    parser.add_argument("--every", type=int, default=1, help="score each N-th defective image of a class")
    parser.add_argument(
        "--table", action="store_true", help="both splits, 20 and 100, both contrasts, three seeds (an hour)"
    )
    parser.add_argument(
        "--anomalib", action="store_true", help="the same with anomalib's own model (minutes)"
    )
    options = parser.parse_args(arguments)
    if not (options.data / "good").is_dir():
        print(f"{options.data}: no data set there; name its folder with --data", file=sys.stderr)
        return 66
    settings = LearnSettings(
        layers=tuple(options.layers.split(",")),
        size_px=options.size_px,
        contrast=options.contrast,
        kind=options.kind,
        steps=options.steps,
        seed=options.seed,
    )
    if options.table:
        table(options.data, settings)
        return 0
    parts = SPLITS[options.split](options.data, options.seed)
    if options.count < len(parts.learn):
        parts = fewer(parts, options.count)
    if options.every > 1:
        some = {kind: paths[:: options.every] for kind, paths in parts.defective.items()}
        parts = replace(parts, defective=some)
    outcome, bundle = ours(parts, settings)
    report("partgate", parts, outcome, options.seed)
    report_thresholds(outcome, bundle)
    if options.anomalib:
        report("anomalib's PatchCore", parts, anomalibs(parts, settings), options.seed)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
