"""Whether a station's product can be judged here: recipe, model, runtime, proof, and in time."""

import contextlib
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partgate.fitness._cameras import Seen
from partgate.fitness._check import Check, about, note, ok, unfit
from partgate.fitness._cores import judging_cores
from partgate.fitness._images import images
from partgate.records import Active, Database, Home, Keys, Proofs, active
from partgate.records import Recipe as RecipeRow
from partgate_engines import (
    Bundle,
    OpenVinoOptions,
    Runtime,
    fingerprint_of,
    open_runtime,
    precision_choice,
)
from partgate_station import Recipe, Region, StationConfig

CONFIG, DATA, MISSING = 78, 65, 66
TIMES = 5
SEVERAL = 2
AMPLE = 2.0
"""A deadline should be so many times the median: a busy machine's slowest part in a thousand takes up to
three times as long as the median one, of which grabbing, which waits, is a part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long a part takes here, from its trigger to its verdict."""

    grab_ms: float
    judge_ms: float
    map_bytes: int
    """Of its anomaly maps, which are kept with its images."""

    @property
    def part_ms(self) -> float:
        """All of it."""
        return self.grab_ms + self.judge_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """What a station would judge with, and the frames there are to try it on."""

    config: StationConfig
    recipe: Recipe
    bundle: Bundle
    seen: Mapping[str, Seen]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shot:
    """What is judged to measure: pixels, and where in them."""

    pixels: NDArray[np.uint8]
    regions: tuple[Region, ...]


def judging(
    config: StationConfig, home: Home, seen: Mapping[str, Seen], *, on_pace: Callable[[Pace], None]
) -> Iterator[Check]:
    """Go the way that the station goes before it is ready, and say of each step what came.

    Args:
        config: of the station.
        home: with or without a database.
        seen: frames by their cameras; without any, a golden frame stands for them.
        on_pace: told how long a part takes.
    """
    if config.product is None:
        text = "the file names none: every part is UNDECIDED, its frames are kept to learn from"
        yield note("product", text, f"partgate learn PRODUCT --from-station {config.station_id}")
        return
    found, version = _active(home, config.product)
    if found is None:
        advice = f"partgate learn {config.product} --good DIR, or `partgate models activate`"
        yield unfit("product", f"'{config.product}' has no active recipe", advice, exit_code=MISSING)
        return
    deadline_ms = found.recipe.deadline_ms
    yield ok("product", f"'{config.product}', recipe version {version}, deadline {deadline_ms} ms")
    yield from _regions(found.recipe, config, seen)
    yield from images(found.recipe, config.image_health, seen)
    with about("model"):
        bundle = Bundle.open(home.bundles_path / found.model_id, trusted=Keys(home).trusted())
    yield ok("model", f"{bundle.id[:12]}, signed by '{bundle.signer}'")
    yield from _loaded(_Case(config=config, recipe=found.recipe, bundle=bundle, seen=seen), home, on_pace)


def _loaded(case: _Case, home: Home, on_pace: Callable[[Pace], None]) -> Iterator[Check]:
    """Load the model and say where it runs, whether it was proven there, and whether it is in time."""
    with contextlib.ExitStack() as stack:
        with about("runtime"):
            stack.enter_context(judging_cores(case.config))
            options = OpenVinoOptions.of_station(case.config)
            runtime = open_runtime(
                case.bundle, case.config.runtime, engines=home.graphs_path, openvino=options
            )
        stack.callback(runtime.close)
        yield ok("runtime", _described(case.bundle, runtime, home))
        if runtime.name == "openvino":
            yield from precision(
                case.config.openvino.precision, fingerprint_of(case.bundle, runtime).precision
            )
        yield _parity(case.bundle, runtime, home)
        with about("deadline"):
            pace = _pace(case, runtime)
        on_pace(pace)
        yield deadline(case.recipe.deadline_ms, pace, golden=not case.seen)


def precision(asked: str, found: str) -> Iterator[Check]:
    """Say if a station's file asks for a precision that its processor lacks.

    Args:
        asked: by the file.
        found: what the graph is computed in.
    """
    if asked == "bf16" and asked not in found:
        text = f"the file asks for {asked}, which this processor lacks: it computes in {found}"
        yield note("precision", text, 'set precision = "auto" under [openvino]')


def _active(home: Home, product: str) -> tuple[Active | None, int]:
    if not home.database_path.exists():
        return None, 0
    with about("records"), contextlib.closing(Database.open(home)) as database, database.read() as session:
        found = active(session, product)
        row = session.get(RecipeRow, found.recipe_id) if found else None
        return found, row.version if row else 0


def _regions(recipe: Recipe, config: StationConfig, seen: Mapping[str, Seen]) -> Iterator[Check]:
    """Say whether the recipe's regions fit this station's cameras and frames."""
    if not recipe.regions:
        return
    with about("regions"):
        recipe.check_cameras(config.camera_ids)
        for each in seen.values():
            height_px, width_px = each.frame.image.shape[:2]
            recipe.check_regions(width_px=width_px, height_px=height_px)
    fit = f"fit the frames of {', '.join(seen)}" if seen else "no frame to lay them on"
    yield ok("regions", f"{len(recipe.regions)}, {fit}") if seen else note("regions", fit)


def _described(bundle: Bundle, runtime: Runtime, home: Home) -> str:
    """Return what judges and in which precision, with what was measured to choose it."""
    text = f"{runtime.name} in {fingerprint_of(bundle, runtime).precision}"
    choice = precision_choice(bundle, home.graphs_path) if runtime.name == "openvino" else None
    if choice is None or len(choice.trials) < SEVERAL:
        return text
    tried = (
        f"{trial.precision} {trial.outcome}"
        + ("" if trial.median_ms is None else f" at {trial.median_ms:.1f} ms")
        for trial in choice.trials
    )
    return f"{text}; measured: {', '.join(tried)}"


def _parity(bundle: Bundle, runtime: Runtime, home: Home) -> Check:
    report = Proofs(home).get(fingerprint_of(bundle, runtime), bundle.manifest)
    if report is None:
        text = f"not yet proven in {runtime.name} on this machine"
        return note(
            "parity", text, "the station does it at its start, or now: partgate models verify PRODUCT"
        )
    where = f"{report.fingerprint.runtime_version} ({report.fingerprint.precision}) on {report.at:%Y-%m-%d}"
    if not report.passed:
        advice = f"{report.problems[0]}; partgate models verify shows every frame"
        return unfit("parity", f"failed in {runtime.name} {where}", advice, exit_code=DATA)
    return ok("parity", f"proven in {runtime.name} {where}, {len(report.frames)} golden frames")


def deadline(deadline_ms: int, pace: Pace, *, golden: bool) -> Check:
    """Say whether a part takes less than its deadline, and whether there is room for a bad day."""
    grabbed = "a golden frame" if golden else f"grabbed in {pace.grab_ms:.0f} ms"
    judged = f"judged in {pace.judge_ms:.1f} (median of {TIMES})"
    value = f"{pace.part_ms:.0f} of {deadline_ms} ms: {grabbed}, {judged}"
    if pace.part_ms > deadline_ms:
        advice = "a longer deadline_ms in the recipe, smaller frames or regions, or a faster machine"
        return unfit("deadline", value, advice, exit_code=CONFIG)
    if pace.part_ms * AMPLE > deadline_ms:
        return note("deadline", value, "little room: when the machine is busy, parts will be UNDECIDED")
    return ok("deadline", value)


def _pace(case: _Case, runtime: Runtime) -> Pace:
    judged = [_judged(runtime, shot) for shot in _shots(case)]
    return Pace(
        grab_ms=sum(each.grab_ms for each in case.seen.values()),
        judge_ms=sum(median_ms for median_ms, _ in judged),
        map_bytes=sum(map_bytes for _, map_bytes in judged),
    )


def _shots(case: _Case) -> Sequence[_Shot]:
    """Return what each camera gave or, where none was opened, a golden frame for each."""
    if not case.seen:
        frame = case.bundle.golden()[0]
        shot = _Shot(pixels=frame.pixels, regions=case.bundle.manifest.regions)
        return [shot] * len(case.config.cameras)
    return [
        _Shot(
            pixels=each.frame.image,
            regions=tuple(region for region in case.recipe.regions if region.camera_id in {None, camera_id}),
        )
        for camera_id, each in case.seen.items()
    ]


def _judged(runtime: Runtime, shot: _Shot) -> tuple[float, int]:
    """Return how many milliseconds a judgement takes, and how many bytes its map has."""
    result = runtime.judge(shot.pixels, shot.regions)  # the first one allocates
    times_ms = []
    for _ in range(TIMES):
        before_s = time.perf_counter()
        runtime.judge(shot.pixels, shot.regions)
        times_ms.append((time.perf_counter() - before_s) * 1000)
    return statistics.median(times_ms), result.anomaly_map.nbytes
