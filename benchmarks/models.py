"""Learn the magnetic tiles with every kind of model, and write the table of docs/reference/models.md.

    python -m benchmarks.models [KIND ...] [--look default|deep|marked] [--weights DIR] [--steps N]
        [--every N] [--data DIR] [--home DIR] [--out FILE] [--again] [--busy] [--table]

100 good tiles are learned from (`benchmarks.magnetic_tiles`, grouped split, seed 0), its 150 other good ones
and every N-th defective one are scored. What was measured before is read from --out and not measured again
unless --again is given; a kind whose weights are not here gets a row that says so. --busy leaves the
milliseconds out: other work ran beside. --table only writes the table.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks._result import busy_cores, machine
from benchmarks._table import fill
from benchmarks.magnetic_tiles import auroc, read, split, tiles
from partgate_engines import Bundle, open_runtime, verify_parity
from partgate_engines._manifest import KindName
from partgate_engines._tensorrt_api import find_tensorrt
from partgate_engines._tensorrt_build import Profile, build_plan
from partgate_engines._tensorrt_contract import Contract
from partgate_engines._tensorrt_half import halve_backbone
from partgate_engines.anomaly import DefectImage, GoodImage, LearnSettings, learn, recomputed
from partgate_engines.anomaly._weights import PACKAGED_BACKBONE
from partgate_engines.anomaly.kinds import kind_named
from partgate_station import PartgateError

KINDS: tuple[KindName, ...] = get_args(KindName)
DOCUMENT = Path(__file__).parents[1] / "docs" / "reference" / "models.md"
BEGIN, END = "<!-- models: begin -->", "<!-- models: end -->"
SEED = 0
MAP_PX = 128  # maps and masks are compared at this width and height
LOOKS: Mapping[str, Mapping[str, Any]] = {
    "default": {},
    "deep": {"contrast": "local", "layers": ("blocks.4", "blocks.6")},
    "marked": {"contrast": "local", "layers": ("blocks.4", "blocks.6")},
}
_FIRST = ("patchcore", "padim", "pca")  # in the table: those that take seconds
_BUSY_CORES = 0.5  # other work that counts
_LEARNED_ONE_IN = 5  # defective tiles, where they are learned from
_LEARNS = {True: "good images, defective ones with masks", False: "good images"}

Scores = NDArray[np.float64]
Maps = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What came of one kind."""

    kind: str
    look: str
    learns_from: str
    weights: str
    not_run: str = ""
    """Why nothing below was measured."""

    steps: int | None = None
    learn_s: float | None = None
    parity: float | None = None
    """The largest difference of a score or map from torch's, in parts of its scale."""

    parity_passed: bool | None = None
    builds: dict[str, bool] | None = None
    """By precision."""

    image_ms: float | None = None
    auroc: float | None = None
    by_defect: dict[str, float] | None = None
    aupro: float | None = None
    marked: int = 0
    """Defective images that were learned from."""

    good: int = 0
    defective: int = 0
    busy_cores: float = 0.0
    machine: str = ""


def measured(kind: KindName, look: str, options: argparse.Namespace, home: Path) -> Row:
    """Learn with a kind and say what came of it."""
    settings = LearnSettings(
        kind=kind, seed=SEED, weights=_weights(kind, options), steps=options.steps, **LOOKS[look]
    )
    row = _named(kind, look, settings)
    parts = split(options.data, SEED)
    marked, defective = _dealt(parts.defective, look, options.every)
    if marked and not kind_named(kind).learns_from_defects:
        raise SystemExit(f"{kind} does not learn from defects: no --look marked")
    images = [GoodImage(pixels=read(path), origin=path.name) for path in parts.learn]
    busy = busy_cores()
    started = time.perf_counter()
    try:
        learned = learn(
            images, settings=settings, graphs=home / "graphs", progress=_tell(kind), defects=marked
        )
    except PartgateError as error:
        return replace(row, not_run=str(error))
    learn_s = time.perf_counter() - started
    bundle = learned.save(
        home / "bundles", product="tile", good=learned.kept(images), weights=settings.weights
    )
    training = bundle.manifest.training
    return replace(
        row,
        steps=None if training is None else training.steps,
        learn_s=round(learn_s, 1),
        marked=len(marked),
        builds=_builds(bundle),
        good=len(parts.good),
        defective=sum(map(len, defective.values())),
        busy_cores=busy,
        machine=machine(),
        **_judged(bundle, parts.good, defective, with_ms=not options.busy),
    )


def _dealt(
    defective: Mapping[str, Sequence[Path]], look: str, every: int
) -> tuple[list[DefectImage], dict[str, list[Path]]]:
    """Return the defective images to learn from, and those to score: never of one tile."""
    learned: list[Path] = []
    scored: dict[str, list[Path]] = {}
    for name, paths in defective.items():
        groups = tiles(paths)
        first = groups[::_LEARNED_ONE_IN] if look == "marked" else []
        learned += [path for group in first for path in group]
        scored[name] = [path for path in paths if path not in set(learned)][::every]
    marked = [DefectImage(pixels=read(path), mask=_marks(path), origin=path.name) for path in learned]
    return marked, scored


def _named(kind: KindName, look: str, settings: LearnSettings) -> Row:
    found = kind_named(kind)
    backbone = found.settings(replace(settings, kind=kind)).backbone
    packaged = backbone == PACKAGED_BACKBONE
    return Row(
        kind=kind,
        look=look,
        learns_from=_LEARNS[look == "marked"],
        weights="packaged" if packaged else f"{backbone}, to be brought",
    )


def _weights(kind: KindName, options: argparse.Namespace) -> Path | None:
    packaged = _named(kind, "default", LearnSettings(kind=kind)).weights == "packaged"
    given: Path | None = options.weights
    return None if packaged else given


def _tell(kind: str) -> Callable[[str, int, int], None]:
    last = [""]

    def tell(step: str, done: int, total: int) -> None:
        if step != last[0] or (step == "training" and done % 50 == 0):
            last[0] = step
            print(f"{kind}: {step} {done}/{total}", file=sys.stderr, flush=True)

    return tell


def _judged(
    bundle: Bundle, good: Sequence[Path], defective: Mapping[str, Sequence[Path]], *, with_ms: bool
) -> dict[str, Any]:
    runtime = open_runtime(bundle, "openvino")
    took: list[float] = []

    def judged(paths: Sequence[Path]) -> tuple[Scores, Maps]:
        scores, maps = [], []
        for path in paths:
            pixels = read(path)
            begun = time.perf_counter()
            (score,) = runtime.scores([pixels], [()])
            took.append(1000 * (time.perf_counter() - begun))
            scores.append(score)
            maps.append(cv2.resize(runtime.judge(pixels).anomaly_map, (MAP_PX, MAP_PX)))
        return np.array(scores, dtype=np.float64), np.array(maps, dtype=np.float32)

    try:
        golden, by = (None, "") if bundle.manifest.training else recomputed(bundle, None)
        parity = verify_parity(bundle, runtime, golden, references=by)
        fine, fine_maps = judged(good)
        bad = {name: judged(paths) for name, paths in defective.items()}
    finally:
        runtime.close()
    every = np.concatenate([scores for scores, _ in bad.values()])
    maps = np.concatenate([fine_maps, *(found for _, found in bad.values())])
    marks = [np.zeros((MAP_PX, MAP_PX), dtype=np.bool_)] * len(good)
    marks += [_mask(path) for paths in defective.values() for path in paths]
    differences = [max(frame.score_difference or 0.0, frame.map_difference or 0.0) for frame in parity.frames]
    return {
        "parity": float(f"{max(differences):.1e}"),
        "parity_passed": parity.passed,
        "image_ms": round(float(np.median(took)), 1) if with_ms else None,
        "auroc": round(auroc(fine, every), 3),
        "by_defect": {name: round(auroc(fine, scores), 3) for name, (scores, _) in bad.items()},
        "aupro": aupro(maps, np.array(marks)),
    }


def _marks(path: Path) -> NDArray[np.bool_]:
    """Return where a defective tile is so: (h, w)."""
    return np.asarray(read(path.parents[1] / "masks" / path.parent.name / f"{path.stem}.png") > 0)


def _mask(path: Path) -> NDArray[np.bool_]:
    """Return the same as maps are compared: (MAP_PX, MAP_PX); a cell of which a quarter is marked."""
    small = cv2.resize(_marks(path).astype(np.float32), (MAP_PX, MAP_PX), interpolation=cv2.INTER_AREA)
    return np.asarray(small >= 0.25)


def aupro(maps: Maps, marks: NDArray[np.bool_]) -> float:
    """Return anomalib's area under the per-region overlap, up to 30 % of the good pixels."""
    import torch
    from anomalib.metrics.aupro import _AUPRO

    metric = _AUPRO()
    metric.update(torch.from_numpy(maps), torch.from_numpy(marks.astype(np.int64)))
    return round(float(metric.compute()), 3)


def _builds(bundle: Bundle) -> dict[str, bool]:
    """Return in which precisions NVIDIA's builder takes the graph."""
    content = bundle.graph_bytes()
    graphs = {"fp32": lambda: content, "fp16": lambda: halve_backbone(content)}
    return {precision: _is_built(bundle, graph) for precision, graph in graphs.items()}


def _is_built(bundle: Bundle, graph: Callable[[], bytes]) -> bool:
    try:
        build_plan(
            find_tensorrt("tensorrt_rtx"),
            graph(),
            contract=Contract.of(bundle.manifest),
            profile=Profile.of(bundle.manifest),
        )
    except PartgateError as error:
        print(f"{bundle.manifest.kind}: {error}", file=sys.stderr)
        return False
    return True


def table(rows: Sequence[Row]) -> str:
    """Return the rows as Markdown, the kinds in their usual order."""
    head = (
        "kind", "look", "learns from", "weights", "exports", "parity", "builds", "ms", "image AUROC",
        "pixel AUPRO", "learns in",
    )  # fmt: skip
    last = sorted({row.kind for row in rows} - set(_FIRST))
    order = sorted(rows, key=lambda row: ((*_FIRST, *last).index(row.kind), list(LOOKS).index(row.look)))
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    lines += [f"| {' | '.join(_cells(row))} |" for row in order]
    notes = [f"- {row.kind}, {row.look}: not run here: {row.not_run}." for row in order if row.not_run]
    return "\n".join([*lines, "", *notes, *([""] if notes else []), *_how_measured(order), ""])


def _cells(row: Row) -> tuple[str, ...]:
    start = (row.kind, row.look, row.learns_from, row.weights)
    if row.not_run:
        return (*start, *("-",) * 7)
    builds = row.builds or {}
    taken = ", ".join(name for name, built in builds.items() if built) or "no"
    trained = f", {row.steps} steps" if row.steps else ""
    trained += f", {row.marked} defects" if row.marked else ""
    return (
        *start,
        "yes",
        f"{row.parity:.0e}" if row.parity_passed else f"**{row.parity:.0e}**",
        taken,
        "-" if row.image_ms is None else f"{row.image_ms:g}",
        f"{row.auroc:.3f}",
        f"{row.aupro:.3f}",
        f"{row.learn_s:.0f} s{trained}{' (busy)' if row.busy_cores >= _BUSY_CORES else ''}",
    )


def _how_measured(rows: Sequence[Row]) -> list[str]:
    run = [row for row in rows if not row.not_run]
    if not run:
        return []
    counts = sorted({(row.good, row.defective) for row in run})
    scored = "; ".join(f"{good} good and {bad} defective tiles" for good, bad in counts)
    busy = max(row.busy_cores for row in run)
    made_on = "; ".join(dict.fromkeys(row.machine for row in run))
    beside = (
        f"Other work took up to {busy:g} cores beside: seconds and milliseconds of a busy machine are no"
        " measurements."
        if busy >= _BUSY_CORES
        else "No other work ran beside."
    )
    return [f"Scored: {scored}. Maps were compared at {MAP_PX} px. {beside} Made on: {made_on}."]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what was asked for and is not there yet, and write the table."""
    options = _parser().parse_args(arguments)
    known = {
        (row.kind, row.look): row
        for row in (
            Row(**found) for found in (json.loads(options.out.read_text()) if options.out.exists() else [])
        )
    }
    if not options.table:
        if not (options.data / "good").is_dir():
            print(f"{options.data}: no data set there; name its folder with --data", file=sys.stderr)
            return 66
        with tempfile.TemporaryDirectory(prefix="partgate-models-") as folder:
            _measure(options, known, options.home or Path(folder))
    fill(DOCUMENT, table(list(known.values())), begin=BEGIN, end=END)
    return 0


def _measure(options: argparse.Namespace, known: dict[tuple[str, str], Row], home: Path) -> None:
    """Measure the kinds that were asked for, and keep every row as soon as it is there."""
    for kind in options.kinds or KINDS:
        if (kind, options.look) in known and not options.again:
            continue
        known[kind, options.look] = measured(kind, options.look, options, home)
        rows = [asdict(row) for row in known.values()]
        options.out.write_text(json.dumps(rows, indent=2) + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="models", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    beside = Path(__file__).resolve().parents[2] / "shared" / "datasets" / "magnetic_tile"
    parser.add_argument("kinds", nargs="*", choices=[*KINDS, []], metavar="KIND", help=", ".join(KINDS))
    parser.add_argument(
        "--look",
        choices=tuple(LOOKS),
        default="default",
        help="deep: local contrast, strides 16 and 32; marked: and one in five defective tiles",
    )
    parser.add_argument("--weights", type=Path, help="a folder, for kinds whose weights come in no package")
    parser.add_argument("--steps", type=int, help="of kinds that are trained")
    parser.add_argument("--every", type=int, default=1, help="score every so-many-th defective tile")
    parser.add_argument("--data", type=Path, default=beside, help="the data set's folder")
    parser.add_argument(
        "--home", type=Path, help="a folder in which graphs and bundles stay for the next time"
    )
    parser.add_argument("--out", type=Path, default=Path("models.json"), help="where the figures are kept")
    parser.add_argument("--again", action="store_true", help="measure what is there already, too")
    parser.add_argument("--busy", action="store_true", help="leave the milliseconds out")
    parser.add_argument("--table", action="store_true", help="only write the table")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
