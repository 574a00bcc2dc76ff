"""What a candidate changes, in words: thresholds, what a person had set them to, whom to look at."""

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from partgate.cli._output import out
from partgate_station import Thresholds, Verdict

_NAMES = ("review", "reject")
_RISES = 2  # times the threshold before: another bank moves scores by a few per cent
_NAMED = 8


def thresholds_line(report: dict[str, Any]) -> str:
    """Return both thresholds before and after."""
    before, after = report["thresholds"]["before"], report["thresholds"]["after"]
    return (
        f"Review {before['review']:.4g} -> {after['review']:.4g}, reject {before['reject']:.4g} ->"
        f" {after['reject']:.4g}: calibrated anew, for another bank gives other scores."
    )


def hand_set_text(report: dict[str, Any]) -> Iterator[str]:
    """Yield what became of thresholds that a person had set; nothing if nobody had."""
    held = report["hand_set"]
    if held is None:
        return
    who, why = held["by"], held["reason"] or "no reason given"
    if (budget := held["budget"]) is not None:
        yield (
            f"The budget of {who} is kept: at most 1/{budget['reject_one_in']} of the good parts rejected and"
            f" 1/{budget['review_one_in']} flagged, {100 * budget['confidence']:g} % confidence"
            f" (version {held['recipe_version']}: {why})."
        )
        return
    set_to = " and ".join(f"{name} {held[name]:.6g}" for name in _NAMES if name in held)
    yield (
        f"Set by hand and not carried over: {set_to}, by {who} (version {held['recipe_version']}: {why})."
        f" Where it stood among {_parts(held)}:"
    )
    for name, place in held["places"].items():
        yield f"  {name} {place['was']:.6g}: {_stood(place)}; {place['now']:.9g} stands there now"


def activate_command(model_id: str, report: dict[str, Any]) -> str:
    """Return the command that puts a model into force; one that is doubted needs a reason."""
    reason = " --reason TEXT" if any(disarms(report)) else ""
    return f"partgate models activate {model_id[:12]}{reason}"


def again_command(product: str, report: dict[str, Any]) -> str | None:
    """Return the command that sets them so again once the model is in force; None if none is needed."""
    held = report["hand_set"]
    if held is None or held["budget"] is not None:
        return None
    options = " ".join(f"--{name} {place['now']:.9g}" for name, place in held["places"].items())
    reason = shlex.quote(f"where {held['by']} had set it: {held['reason'] or 'no reason given'}")
    return f"partgate recipe threshold {product} {options} --reason {reason}"


def came_text(report: dict[str, Any]) -> Iterator[str]:
    """Yield what came in: parts that QA overturned, images that were given."""
    parts, given = len(report["added_parts"]), report.get("given")
    if parts or given is None:
        yield f"{parts} overturned part{'s' * (parts != 1)}"
    if given is not None:
        images = given["learned"]
        yield f"{images} image{'s' * (images != 1)} given"


def warnings_of(report: dict[str, Any]) -> Iterator[str]:
    """Yield what a person should look at: of the images that came or went, and of the calibration."""
    yield from change_warnings(report)
    yield from report["calibration"]["warnings"]


def disarms(report: dict[str, Any]) -> Iterator[str]:
    """Yield how a candidate would let through what the active model does not: a person has to want that."""
    reviewed = report.get("reviewed", {}).get("scores", ())
    found = [one for one in reviewed if one["finding"] == "DEFECTIVE"]
    yield from _lost("found defective in review", found, report)
    yield from _lost("given as defective", report.get("known_defects", {}).get("scores", ()), report)
    if (thresholds := report.get("thresholds")) is not None:
        before, after = (thresholds[when]["review"] for when in ("before", "after"))
        if 0 < _RISES * before < after:
            yield (
                f"the review threshold rises from {before:.4g} to {after:.4g}: parts that were found good in"
                " review differ that much from the good ones known before. Were they good? Look at them again"
            )


def _lost(what: str, scores: Sequence[dict[str, Any]], report: dict[str, Any]) -> Iterator[str]:
    """Yield which defective images would no longer be flagged; as many found instead make up for none."""
    if not scores:
        return
    before, after = (Thresholds(**report["thresholds"][when]) for when in ("before", "after"))
    lost = [
        one for one in scores if _is_flagged(one["before"], before) and not _is_flagged(one["after"], after)
    ]
    if lost:
        named = ", ".join(_lost_one(one) for one in lost[:_NAMED])
        more = f" and {len(lost) - _NAMED} more" if len(lost) > _NAMED else ""
        yield f"{len(lost)} of {len(scores)} images {what} would no longer be flagged: {named}{more}"


def _is_flagged(score: float | None, thresholds: Thresholds) -> bool:
    """Return whether a score of a report is not accepted; one without a number never is."""
    return score is None or thresholds.verdict(score) is not Verdict.ACCEPT


def _lost_one(one: dict[str, Any]) -> str:
    if "image" in one:
        return f"{one['image']} ({one['after']:.4g})"
    if "trigger" not in one:  # retrained before reports named them so
        return f"part:{one['part']} ({one['after']:.4g})"
    return f"trigger {one['trigger']} of {one['station']} ({one['after']:.4g}, part:{one['part']})"


def odd_text(report: dict[str, Any]) -> Iterator[str]:
    """Yield which images said to be good are unlike the other good ones; nothing if none is."""
    odd = report.get("odd", ())
    if not odd:
        return
    named = ", ".join(_odd_one(one) for one in odd[:_NAMED])
    more = f" and {len(odd) - _NAMED} more" if len(odd) > _NAMED else ""
    images = "1 image" if len(odd) == 1 else f"{len(odd)} images"
    ways = "If one is defective, say so in `partgate review`, or take it out of the folder, and retrain"
    if report.get("given") is None:
        ways = "If one is defective, say so in `partgate review`, and retrain"
    yield (
        f"{images} said to be good, of {len(report['added'])}, would score above {odd[0]['limit']:.4g},"
        f" farther than the other good parts reach: {named}{more}. Look at them again: a defect among them"
        f" would be learned as good. {ways}"
    )


def _odd_one(one: dict[str, Any]) -> str:
    if one["station"] is None:
        return f"{one['image']} ({one['score']:.4g})"
    return f"trigger {one['trigger']} of {one['station']} ({one['score']:.4g}, {one['image']})"


def given_text(report: dict[str, Any]) -> Iterator[str]:
    """Yield which images that were given are not learned, and why; nothing if all are."""
    given = report.get("given")
    if given is None:
        return
    if known := given["known"]:
        images = "1 image" if known == 1 else f"{known} images"
        yield f"{images} of those given are known already, or came twice: they bring nothing"
    for name in given["forgotten"]:
        yield (
            f"{name} is not learned: `partgate models forget` took it out of a model before. If it is good"
            " after all, learn the product again"
        )
    for sentence in given["left_out"]:
        yield f"left out: {sentence}"


def change_warnings(report: dict[str, Any]) -> Iterator[str]:
    """Yield what a candidate would let through, what came in vain or is odd, and what went in vain."""
    yield from disarms(report)
    yield from odd_text(report)
    yield from given_text(report)
    for one in report.get("not_located", ()):
        yield f"{one['image']} was said to be good and is not learned: {one['why']}"
    passing = [one["image"] for one in report.get("forgotten", ()) if one["verdict"] == "ACCEPT"]
    if passing:
        yield (
            f"{', '.join(passing)} would still be accepted: another image shows the same, or the model does"
            " not see it; `partgate models trace` says who vouches for it"
        )


def counts_of(report: dict[str, Any]) -> Iterator[tuple[str, int, int, int]]:
    """Yield name, images, flagged before and after, of the groups whose scores are known by both models."""
    if (good_set := report.get("good_set")) is not None:
        yield (
            "good set (held out)",
            good_set["images_before"],
            good_set["flagged_before"],
            good_set["flagged_after_of_the_old_ones"],
        )
    for finding in ("good", "defective") if "reviewed" in report else ():
        group = report["reviewed"][finding]
        yield f"reviewed: {finding}", group["frames"], group["flagged_before"], group["flagged_after"]
    if (known := report.get("known_defects")) is not None:
        yield "given as defective", known["images"], known["flagged_before"], known["flagged_after"]


def print_became_of_thresholds(report: dict[str, Any]) -> None:
    """Print thresholds before and after, and what became of those that a person had set."""
    for line in (thresholds_line(report), report["calibration"]["promise"], *hand_set_text(report)):
        out.print(line, markup=False)


def print_next(product: str, model_id: str, report: dict[str, Any], page: Path | None) -> None:
    """Print what a person may do with a candidate."""
    out.print(f"Put it into force with: {activate_command(model_id, report)}", markup=False)
    if (again := again_command(product, report)) is not None:
        out.print(f"Then, to set the thresholds so again: {again}", markup=False)
    if page is not None:
        out.print(f"What changed, with pictures: {page}", markup=False)


def _parts(held: dict[str, Any]) -> str:
    whose = "good parts that both models know" if held["same_parts"] else "good parts of each model"
    return f"the held-out scores of {held['parts']} {whose}"


def _stood(place: dict[str, Any]) -> str:
    if not place["above"]:
        return f"above all {place['of']}"
    if place["above"] == place["of"]:
        return f"below all {place['of']}"
    return f"{place['above']} of {place['of']} at or above it, the {100 * place['quantile']:.3g} % quantile"
