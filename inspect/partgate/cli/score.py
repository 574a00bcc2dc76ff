"""`partgate score`: score folders of stills."""

import contextlib
import json
import os
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from partgate.cli._app import DEFAULT_HOME, HomeOption, app
from partgate.cli._output import err, out, print_table, progress_bar, table
from partgate_station import CannotWrite, DataError, MissingInput, PartgateError, Recipe, Verdict

if TYPE_CHECKING:
    from partgate_engines import AnomalyResult, Bundle, Runtime


@app.command()
def score(
    model: Annotated[
        str, typer.Argument(metavar="PRODUCT|BUNDLE", help="A product of this home, or a bundle's folder.")
    ],
    sources: Annotated[
        list[Path], typer.Argument(metavar="DIR...", help="Folders (with sub-folders) or files.")
    ],
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write one JSON line per image to this file; - for stdout.")
    ] = None,
    maps: Annotated[
        Path | None, typer.Option(help="Write each image with its anomaly map laid over it.")
    ] = None,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Go on past images that cannot be used.")
    ] = False,
    unverified: Annotated[
        bool, typer.Option("--unverified", help="Take a bundle whose signer is not trusted, or unsigned.")
    ] = False,
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Score stills with a product's active model, or with a bundle.

    A bundle's folder must be signed by somebody this home trusts (`partgate keys list`). With
    --unverified only its own hashes are checked: do that with a bundle you made yourself.

    One JSON line per image: `file`, `score`, `verdict`, `milliseconds` (from the decoded image to
    the verdict). With --skip-bad an image that cannot be used is UNDECIDED and says why in `error`. One of
    another size or colour than all good images had is scored, and says so in `misfit`: a station would not.

    Example: `partgate score tile images/new --json scores.jsonl`
    """
    from partgate.cli._bundles import engines_of
    from partgate_engines import open_runtime

    bundle, recipe = _bundle_and_recipe(model, home, unverified=unverified)
    stills = _all_images(sources)
    lines: list[dict[str, Any]] = []
    with (
        contextlib.closing(open_runtime(bundle, engines=engines_of(home))) as runtime,
        _written_whole(json_file) as stream,
        progress_bar() as progress,
    ):
        for number, still in enumerate(stills):
            progress("scoring", number, len(stills))
            line = _score_one(still, runtime, recipe, maps)
            lines.append(line)
            if stream is not None:
                stream.write(json.dumps(line, allow_nan=False) + "\n")
        progress("scoring", len(stills), len(stills))
        bad = [str(line["error"]) for line in lines if "error" in line]
        if bad and not skip_bad:
            from partgate.retraining import refusal

            raise DataError(refusal(bad, of=len(lines)))
    if json_file is None or str(json_file) != "-":
        _print_summary(lines, recipe)
    for sentence in bad:
        err.print(f"UNDECIDED: {sentence}", markup=False)
    odd = [line for line in lines if "misfit" in line]
    if odd:
        err.print(
            f"{len(odd)} of {len(lines)} images are of another kind than was learned from; a station calls"
            f" them UNDECIDED. {odd[0]['file']}: {odd[0]['misfit']}",
            markup=False,
        )


def _bundle_and_recipe(model: str, home: Path, *, unverified: bool) -> "tuple[Bundle, Recipe]":
    """Find the bundle by product name or by folder, and the recipe that goes with it."""
    from partgate.cli._bundles import open_named

    bundle, recipe = open_named(model, home, unverified=unverified)
    if recipe is None:
        manifest = bundle.manifest
        recipe = Recipe(product=manifest.product, thresholds=manifest.calibration.thresholds)
    return bundle, recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Still:
    """An image on disk and where in the folder of maps its own goes."""

    path: Path
    map_path: Path


def _all_images(sources: Iterable[Path]) -> list[Still]:
    from partgate_cameras import survey_images

    stills: list[Still] = []
    nothing: list[str] = []
    for source in sources:
        if not source.exists():
            raise MissingInput(f"{source.absolute()}: no such file or folder")
        base = source.absolute().parent
        survey = survey_images(source)
        stills += [
            Still(path=path, map_path=_as_png(path.absolute().relative_to(base))) for path in survey.images
        ]
        if not survey.images:
            nothing.append(survey.nothing_found())
    if not stills:
        raise DataError("\n".join(nothing))
    return stills


def _as_png(path: Path) -> Path:
    """Return a name for a PNG that no other image of the folder can claim."""
    return path if path.suffix == ".png" else path.with_name(f"{path.name}.png")


def _score_one(still: Still, runtime: "Runtime", recipe: Recipe, maps: Path | None) -> dict[str, Any]:
    from partgate_cameras import ImageError, fits_none, measure_image, read_image
    from partgate_engines import PartNotLocated

    try:
        image = read_image(still.path)
    except ImageError as error:
        return _undecided(still, str(error))
    started_s = time.perf_counter()
    (score,) = runtime.scores([image], [recipe.regions])
    if isinstance(score, PartNotLocated):
        return _undecided(still, f"{still.path}: {score}")
    if isinstance(score, PartgateError):
        raise score
    verdict = recipe.thresholds.verdict(score)
    milliseconds = (time.perf_counter() - started_s) * 1000
    if maps is not None:
        _write_map(maps / still.map_path, image, runtime.judge(image, recipe.regions), recipe)
    finite = verdict is not Verdict.UNDECIDED
    line = {
        "file": str(still.path),
        "score": score if finite else None,
        "verdict": verdict,
        "milliseconds": round(milliseconds, 3),
    }
    why = fits_none(recipe.image_references, measure_image(image)) if recipe.image_references else None
    return line if why is None else {**line, "misfit": why}


def _undecided(still: Still, why: str) -> dict[str, Any]:
    return {
        "file": str(still.path),
        "score": None,
        "verdict": Verdict.UNDECIDED,
        "milliseconds": None,
        "error": why,
    }


def _write_map(target: Path, image: Any, result: "AnomalyResult", recipe: Recipe) -> None:
    import cv2

    from partgate.cli._map_picture import map_picture

    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(target), map_picture(image, result.anomaly_map, recipe, map_box=result.box))
    except (OSError, cv2.error) as error:
        raise CannotWrite(f"{target.absolute()}: the anomaly map cannot be written ({error})") from error


@contextlib.contextmanager
def _written_whole(path: Path | None) -> Iterator[TextIO | None]:
    """Give a stream whose file appears only when all of it is there; `-` is stdout."""
    import sys

    if path is None:
        yield None
        return
    if str(path) == "-":
        yield sys.stdout
        return
    try:
        descriptor, name = tempfile.mkstemp(dir=path.absolute().parent, prefix=f".{path.name}.")
        temporary = Path(name)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            temporary.chmod(0o644)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise CannotWrite(f"{path.absolute()}: cannot be written ({error.strerror})") from error


def _print_summary(lines: list[dict[str, Any]], recipe: Recipe) -> None:
    counts = {verdict: sum(line["verdict"] is verdict for line in lines) for verdict in Verdict}
    worst = sorted((line for line in lines if line["score"] is not None), key=lambda line: -line["score"])[
        :10
    ]
    print_table(table("Highest scores", ["score", "verdict", "file"],
                    [[line["score"], line["verdict"].value, line["file"]] for line in worst]))  # fmt: skip
    out.print(
        f"{len(lines)} images: "
        + ", ".join(f"{count} {verdict.value}" for verdict, count in counts.items() if count)
        + f" (review from {recipe.thresholds.review:.4g}, reject from {recipe.thresholds.reject:.4g})"
    )
