"""How a model came from another: what the page of a candidate says besides."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from partgate.cli._change_text import (
    again_command,
    change_warnings,
    counts_of,
    hand_set_text,
    thresholds_line,
)
from partgate.cli._output import err
from partgate.cli._report_page import write_report
from partgate.cli._report_pictures import SHOWN, Picture, picture_of
from partgate.cli._score_picture import Ticks, score_picture
from partgate_station import CannotWrite, Recipe, Thresholds

if TYPE_CHECKING:
    from markupsafe import Markup

    from partgate.records import Database, Home
    from partgate.retraining import CandidateImages, LearnedProduct
    from partgate_engines import Bundle


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What came in or was taken out, and what that did."""

    headline: str
    thresholds: str
    hand_set: tuple[str, ...]
    again: str | None
    """A command that sets thresholds as a person had set them."""

    warnings: tuple[str, ...]
    counts: tuple[tuple[str, int, int, int], ...]
    """Name, images, flagged before and after."""

    histogram: "Markup"
    """Of the model before."""

    came: tuple[Picture, ...]
    more_came: int
    gone: tuple[Picture, ...]
    more_gone: int


def write_change(home: "Home", database: "Database", made: "LearnedProduct") -> Path | None:
    """Write the page of a candidate; None if it cannot be: the candidate is registered all the same."""
    from partgate.records import ImageStore, Keys, latest_recipe, read_recipe
    from partgate.retraining import candidate_images
    from partgate_engines import Bundle

    with database.read() as session:
        recipe = read_recipe(latest_recipe(session, made.model_id))
        images = candidate_images(session, ImageStore(home), made)
    bundle = Bundle.open(home.bundles_path / made.model_id, trusted=Keys(home).trusted())
    parent = Bundle.open(home.bundles_path / (bundle.manifest.parent or ""), trusted=Keys(home).trusted())
    change = _change(bundle, parent, recipe, made.report, images)
    try:
        return write_report(
            home, made.model_id, recipe, made.report, images.good, images.defective, change=change
        )
    except CannotWrite as error:
        err.print(f"no page with pictures: {error}", markup=False)
        return None


def _change(
    bundle: "Bundle", parent: "Bundle", recipe: Recipe, report: dict[str, Any], images: "CandidateImages"
) -> Change:
    from markupsafe import Markup

    came, gone = report.get("added", ()), report.get("forgotten", ())
    return Change(
        headline=_headline(parent, len(came), len(gone)),
        thresholds=thresholds_line(report),
        hand_set=tuple(hand_set_text(report)),
        again=again_command(recipe.product, report),
        warnings=tuple(change_warnings(report)),
        counts=tuple(counts_of(report)),
        histogram=Markup(_before(parent, recipe, report)),  # noqa: S704 - escapes by itself
        came=_came(bundle, recipe, report, images),
        more_came=max(len(came) - SHOWN, 0),
        gone=_gone(bundle, recipe, report, images),
        more_gone=max(len(gone) - SHOWN, 0),
    )


def _headline(parent: "Bundle", came: int, gone: int) -> str:
    parts = []
    if came:
        parts.append("1 image came in" if came == 1 else f"{came} images came in")
    if gone:
        parts.append("1 image was taken out" if gone == 1 else f"{gone} images were taken out")
    return (
        f"Made from model {parent.id[:12]}, which was learned from {parent.manifest.n_good} images:"
        f" {', '.join(parts)}."
    )


def _came(
    bundle: "Bundle", recipe: Recipe, report: dict[str, Any], images: "CandidateImages"
) -> tuple[Picture, ...]:
    """Draw what came, the oddest first; each judged without the rows that it brought."""
    from partgate_engines.anomaly import Witness

    known = [one for one in report.get("added", ()) if one["score"] is not None]
    if not known:
        return ()
    witness = Witness(bundle, recipe.regions)

    def drawn(one: dict[str, Any]) -> Picture:
        image = images.good[one["position"]]
        _, anomaly_map = witness.held_out(image, one["position"])
        return picture_of(witness.seen(image), one["score"], anomaly_map, recipe)

    worst = sorted(known, key=lambda one: one["score"], reverse=True)
    return tuple(drawn(one) for one in worst[:SHOWN])


def _gone(
    bundle: "Bundle", recipe: Recipe, report: dict[str, Any], images: "CandidateImages"
) -> tuple[Picture, ...]:
    from partgate_engines.anomaly import Witness

    gone = report.get("forgotten", ())
    if not gone:
        return ()
    witness = Witness(bundle, recipe.regions)
    shown = [number for number, one in enumerate(gone[:SHOWN]) if one["score"] is not None]
    return tuple(
        picture_of(witness.seen(image), gone[number]["score"], witness.judged(image)[1], recipe)
        for number, image in ((number, images.forgotten[number]) for number in shown)
    )


def _before(parent: "Bundle", recipe: Recipe, report: dict[str, Any]) -> str:
    from partgate.retraining import Evidence
    from partgate_engines.anomaly import worst_of_parts

    calibration = parent.manifest.calibration
    parts = () if calibration.card is None else calibration.card.part_of
    scores = report.get("reviewed", {}).get("scores", ())
    found = {
        finding: tuple(
            one["before"] for one in scores if one["finding"] == finding and one["before"] is not None
        )
        for finding in ("GOOD", "DEFECTIVE")
    }
    evidence = Evidence(
        held_out=tuple(float(score) for score in worst_of_parts(calibration.scores, parts)),
        found_good=found["GOOD"],
        found_defective=found["DEFECTIVE"],
        left_out=0,
    )
    thresholds = Thresholds(**report["thresholds"]["before"])
    return score_picture(recipe.product, thresholds, evidence, ticks=Ticks())
