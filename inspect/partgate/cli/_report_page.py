"""The learning report as one HTML file: no script, nothing from elsewhere, fit to be printed."""

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from partgate.cli._kind_text import kind_table
from partgate.cli._region_text import SET_BY
from partgate.cli._report_pictures import report_pictures
from partgate.cli._score_picture import Ticks, score_picture
from partgate.cli._trials_text import trial_table
from partgate_station import CannotWrite, Recipe

if TYPE_CHECKING:
    from partgate.cli._change import Change
    from partgate.records import Home
    from partgate_engines import Bundle, Calibration, ThresholdRule
    from partgate_engines.anomaly import GoodImage

_TEMPLATES = Path(__file__).with_name("templates")
_FILE = "report.html"
_STEP_BAR_PX = 160


def report_path(home: "Home", model_id: str) -> Path:
    """Return where a model's report lies, if one was made."""
    return home.reports_path / model_id / _FILE


def write_report(
    home: "Home",
    model_id: str,
    recipe: Recipe,
    report: dict[str, Any],
    given: "Sequence[GoodImage]",
    defective: "Sequence[GoodImage]",
    *,
    change: "Change | None" = None,
) -> Path:
    """Write the page that shows what learning saw, and return its path.

    Args:
        home: where the model is registered.
        model_id: of the model.
        recipe: its first one.
        report: as the registry keeps it.
        given: the good images as learning was given them.
        defective: those that were scored.
        change: how it came from another model; None: it was learned.

    Raises:
        CannotWrite: the file cannot be written.
    """
    from partgate.records import Keys
    from partgate_engines import Bundle

    bundle = Bundle.open(home.bundles_path / model_id, trusted=Keys(home).trusted())
    path = report_path(home, model_id)
    page = render(bundle, recipe, report, given, defective, change=change)
    draft = path.with_suffix(".draft")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(page, encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        raise CannotWrite(f"{path}: cannot be written ({error.strerror})") from error
    return path


def render(
    bundle: "Bundle",
    recipe: Recipe,
    report: dict[str, Any],
    given: "Sequence[GoodImage]",
    defective: "Sequence[GoodImage]",
    *,
    change: "Change | None" = None,
) -> str:
    """Return the page."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    style = (_TEMPLATES / "report.css").read_text(encoding="utf-8")
    pages = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    manifest = bundle.manifest
    return pages.get_template("report.html").render(
        style=Markup(style),  # noqa: S704 - our own file
        style_sha256=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
        histogram=Markup(_histogram(recipe, manifest.calibration, report)),  # noqa: S704 - escapes by itself
        model_id=bundle.id,
        manifest=manifest,
        recipe=recipe,
        report=report,
        rules=_rules(manifest.calibration),
        set_by=SET_BY,
        steps=_steps(report.get("seconds_per_step", {})),
        change=change,
        trials=trial_table([trial.model_dump() for trial in manifest.trials], manifest.kind),
        kinds=kind_table(None if manifest.kind_trial is None else manifest.kind_trial.model_dump()),
        pictures=report_pictures(bundle, recipe, report, given, defective),
    )


def _histogram(recipe: Recipe, calibration: "Calibration", report: dict[str, Any]) -> str:
    from partgate.retraining import Evidence
    from partgate_engines.anomaly import worst_of_parts

    parts = () if calibration.card is None else calibration.card.part_of
    evidence = Evidence(
        held_out=tuple(float(score) for score in worst_of_parts(calibration.scores, parts)),
        found_good=tuple(one["score"] for one in report["set_aside"]),
        found_defective=tuple(score for score in report.get("defective_scores", ()) if score is not None),
        left_out=0,
    )
    ticks = Ticks(good="set aside", defective="defective images", good_colour="#7b4fa3")
    return score_picture(recipe.product, recipe.thresholds, evidence, ticks=ticks)


def _rules(calibration: "Calibration") -> list[tuple[str, float, str, str, str]]:
    """Return name, threshold, what was asked, what is guaranteed and how it was set, of both."""
    card, thresholds = calibration.card, calibration.thresholds
    if card is None:
        return []
    rows = (("Review", thresholds.review, card.review), ("Reject", thresholds.reject, card.reject))
    sure = f"{100 * card.confidence:g} %"
    counted = ", what was set aside counted" if card.set_aside else ""
    return [
        (
            name,
            at,
            f"1 good part in {rule.one_in:,}",
            f"at most 1 in {rule.guaranteed_one_in:,}, with {sure} confidence{counted}"
            if rule.guaranteed_one_in
            else "nothing",
            _set_by(rule),
        )
        for name, at, rule in rows
    ]


def _set_by(rule: "ThresholdRule") -> str:
    if rule.method == "order-statistic":
        return "order statistic"
    how = "wide, for commissioning" if rule.method == "commissioning" else "extrapolated"
    return f"{how}; {rule.needed:,} good parts would guarantee it"


def _steps(seconds: dict[str, float]) -> list[tuple[str, float, float]]:
    """Return name, seconds and the length of a bar, of every step."""
    longest = max([*seconds.values(), 1e-9])
    return [(step, took, round(_STEP_BAR_PX * took / longest, 1)) for step, took in seconds.items()]
