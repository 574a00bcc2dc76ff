"""The pictures of the learning report, as addresses that hold them: the page needs no other file."""

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from partgate.cli._map_picture import map_picture
from partgate_station import Recipe, Verdict

if TYPE_CHECKING:
    from partgate_engines import Bundle
    from partgate_engines.anomaly import GoodImage

SHOWN = 6
_LONGEST_PX = 360
_THUMBNAIL_PX = 150
_QUALITY = 84
_GROUPS, _OF_GROUP = 6, 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """An image beside itself with its anomaly map over it."""

    name: str
    score: float
    verdict: str
    plain: str
    """A `data:` address, as is `mapped`."""

    mapped: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """All pictures of a report."""

    set_aside: tuple[Picture, ...]
    worst_good: tuple[Picture, ...]
    """Each judged without the rows that it brought."""

    best_defects: tuple[Picture, ...]
    """The defective images with the lowest scores."""

    copies: tuple[tuple[tuple[str, str], ...], ...]
    """Groups of name and small picture."""


def report_pictures(
    bundle: "Bundle",
    recipe: Recipe,
    report: dict[str, Any],
    given: "Sequence[GoodImage]",
    defective: "Sequence[GoodImage]",
) -> Pictures:
    """Draw what a report shows; the graph is compiled once for it.

    Args:
        bundle: what was learned.
        recipe: with the thresholds and regions.
        report: of the learning.
        given: the good images as learning was given them.
        defective: those that were scored.
    """
    from partgate_engines.anomaly import Witness

    witness = Witness(bundle, recipe.regions)
    left_out = {one["position"] for one in report["set_aside"]}
    kept = [position for position in range(len(given)) if position not in left_out]

    def judged(image: "GoodImage", score: float) -> Picture:
        return picture_of(witness.seen(image), score, witness.judged(image)[1], recipe)

    def held_out(position: int, score: float) -> Picture:
        image = given[kept[position]]
        return picture_of(witness.seen(image), score, witness.held_out(image, position)[1], recipe)

    return Pictures(
        set_aside=tuple(judged(given[one["position"]], one["score"]) for one in report["set_aside"][:SHOWN]),
        worst_good=tuple(held_out(one["position"], one["score"]) for one in report["worst_good"][:SHOWN]),
        best_defects=tuple(
            judged(defective[one["position"]], one["score"])
            for one in report.get("defective_lowest", ())[:SHOWN]
        ),
        copies=tuple(_groups(report, given, kept)),
    )


def _groups(
    report: dict[str, Any], given: "Sequence[GoodImage]", kept: Sequence[int]
) -> Iterator[tuple[tuple[str, str], ...]]:
    found = report["duplicates"]
    for group in [*found["copies"], *found["same_part"]][:_GROUPS]:
        images = [given[kept[position]] for position in group["positions"][:_OF_GROUP]]
        yield tuple((image.origin, _address(_bgr(image.pixels), _THUMBNAIL_PX)) for image in images)


def picture_of(image: "GoodImage", score: float, anomaly_map: NDArray[np.float32], recipe: Recipe) -> Picture:
    """Return an image, as the model sees it, beside itself with its map."""
    verdict = recipe.thresholds.verdict(score)
    passes = verdict is Verdict.ACCEPT  # by the thresholds nothing of its map would be seen
    return Picture(
        name=image.origin,
        score=score,
        verdict=verdict.value,
        plain=_address(_bgr(image.pixels), _LONGEST_PX),
        mapped=_address(map_picture(image.pixels, anomaly_map, recipe, own_scale=passes), _LONGEST_PX),
    )


def _bgr(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    grey = pixels.ndim == 2 or pixels.shape[2] == 1  # noqa: PLR2004 - height and width only
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGR if grey else cv2.COLOR_RGB2BGR), np.uint8)


def _address(picture: NDArray[np.uint8], longest_px: int) -> str:
    shrink = min(1.0, longest_px / max(picture.shape[:2]))
    size = max(1, round(picture.shape[1] * shrink)), max(1, round(picture.shape[0] * shrink))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    done, data = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    if not done:
        raise ValueError(f"OpenCV could not encode a picture of {small.shape}")
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()
