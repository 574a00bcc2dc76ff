"""Say which kind learning would choose from good images alone, and what it was chosen from.

    python -m benchmarks.kind_choice [--of SET,SET] [--seed N,N] [--count N] [--tile-px N] [--data DIR]

Sets are `parts` and `grouped`, the splits of the magnetic tiles; `brick`, `grass` and `gravel`, the demo's
textures; `cloth` and `print` of 640 px. The memory bank that the drawn kind is held against looks at whole
frames unless --tile-px says otherwise, by the usual layers and grey levels. A seed draws other parts,
defects and folds. Every line takes about 100 s of processor time. docs/decisions/0025 says what each kind is
worth on real defects.
"""

import argparse
import functools
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks._fine_scores import Drawn, Frames
from benchmarks.magnetic_tiles import SPLITS, read
from partgate_cameras import draw_part
from partgate_engines._manifest import KindTrial
from partgate_engines.anomaly import GoodImage, LearnSettings, quiet
from partgate_engines.anomaly._kind_choice import choose_kind
from partgate_engines.anomaly._learn import bank_looks, drawn_settings
from partgate_engines.anomaly._weights import PACKAGED_BACKBONE, find_weights
from partgate_engines.anomaly.kinds import Lesson
from partgate_station import VirtualCamera

Good = Callable[[Path, int, int], Sequence[GoodImage]]


def tiles(split: str, data: Path, seed: int, count: int) -> Sequence[GoodImage]:
    learned = sorted(SPLITS[split](data, seed).learn[:count])  # as a folder is read
    return [GoodImage(pixels=read(path), origin=path.name) for path in learned]


def texture(name: str, data: Path, seed: int, count: int) -> Sequence[GoodImage]:
    del data
    camera = VirtualCamera.model_validate(
        {"kind": "virtual", "camera_id": "top", "texture": name, "seed": 1_000_003 + seed, "defect_rate": 0}
    )
    return [GoodImage(pixels=draw_part(camera, n).image, origin=f"{n}.png") for n in range(count)]


def fine(name: str, data: Path, seed: int, count: int) -> Sequence[GoodImage]:
    del data
    return Drawn(Frames(learned=count, first=1000 * seed), "cloth" if name == "cloth" else "print")


SETS: Mapping[str, Good] = {
    **{name: functools.partial(tiles, name) for name in SPLITS},
    **{name: functools.partial(texture, name) for name in ("brick", "grass", "gravel")},
    **{name: functools.partial(fine, name) for name in ("cloth", "print")},
}


def tried(good: Sequence[GoodImage], settings: LearnSettings, graphs: Path) -> KindTrial | None:
    lesson = Lesson(
        settings=settings,
        weights=find_weights(PACKAGED_BACKBONE, None),
        graphs=graphs,
        regions=(),
        progress=quiet,
    )
    drawn = replace(lesson, settings=drawn_settings(settings))
    return choose_kind(good, settings, drawn, look=functools.partial(bank_looks(lesson), settings))


def row(trial: KindTrial | None) -> str:
    if trial is None:
        return "too few parts | | | |"
    families = ", ".join(f"{one.auroc:.3f} {one.taught:.3f} {one.untaught:.3f}" for one in trial.families)
    return (
        f"{families} | {trial.taught_gain:+.3f} ± {trial.taught_error:.3f}"
        f" | {trial.untaught_gain:+.3f} ± {trial.untaught_error:.3f}"
        f" | {trial.kind if trial.is_better else trial.compared_with}"
        f"{f' (needs {trial.needs_parts} parts)' if trial.needs_parts else ''} |"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="kind_choice", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    beside = Path(__file__).resolve().parents[2] / "shared" / "datasets" / "magnetic_tile"
    parser.add_argument("--of", default=",".join(SETS), help="what to learn; all if none is named")
    parser.add_argument("--seed", default="0", help="of parts, defects and folds")
    parser.add_argument("--count", type=int, default=100, help="good images to choose from")
    parser.add_argument("--tile-px", type=int, default=None, help="of the tiles; whole frames without")
    parser.add_argument("--data", type=Path, default=beside, help="the folder of the magnetic tiles")
    options = parser.parse_args(arguments)
    print(
        "| images | seed | lines, spots, zones: bank, taught, not taught | taught | not taught | chosen | s |"
    )
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="partgate-kinds-") as graphs:
        for name in options.of.split(","):
            for seed in (int(one) for one in options.seed.split(",")):
                good = SETS[name](options.data, seed, options.count)
                settings = LearnSettings(tile_px=options.tile_px, seed=seed)
                begun_s = time.process_time()
                said = row(tried(good, settings, Path(graphs)))
                print(f"| {name} | {seed} | {said} {time.process_time() - begun_s:.0f} |", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
