"""The picture of scores and thresholds."""

from xml.etree import ElementTree as ET

import pytest

from partgate.cli._score_picture import score_picture
from partgate.retraining import Evidence
from partgate_station import Thresholds

SVG = "{http://www.w3.org/2000/svg}"
EVIDENCE = Evidence(
    held_out=(10.0, 10.1, 10.2, 12.0), found_good=(12.5,), found_defective=(13.0, 30.0), left_out=0
)


def bars(svg: str) -> list[ET.Element]:
    root = ET.fromstring(svg)
    return [bar for bar in root.iter(f"{SVG}rect") if bar.find(f"{SVG}title") is not None]


def lines(svg: str) -> list[float]:
    root = ET.fromstring(svg)
    paths = [path for path in root.iter(f"{SVG}path") if path.get("stroke-dasharray")]
    return [float((path.get("d") or "").removeprefix("M").split()[0]) for path in paths]


def test_every_good_part_stands_in_a_bar_and_the_thresholds_in_order() -> None:
    svg = score_picture("tile", Thresholds(review=12.2, reject=20.0), EVIDENCE)
    titles = [bar.findtext(f"{SVG}title") or "" for bar in bars(svg)]
    assert sum(int(title.split()[0]) for title in titles) == 4
    review_x, reject_x = lines(svg)
    right_most = max(float(bar.get("x") or 0) + float(bar.get("width") or 0) for bar in bars(svg))
    assert right_most < review_x + 20 < reject_x
    assert "review 12.2" in svg
    assert "QA found defective: 2" in svg


@pytest.mark.parametrize(
    "evidence",
    [
        Evidence(held_out=(), found_good=(), found_defective=(), left_out=3),
        Evidence(held_out=(5.0,) * 30, found_good=(), found_defective=(), left_out=0),
        Evidence(held_out=(1e-6, 1e6), found_good=(float("nan"),), found_defective=(), left_out=0),
    ],
    ids=["no scores", "all the same", "far apart"],
)
def test_odd_scores_are_drawn_all_the_same(evidence: Evidence) -> None:
    svg = score_picture("tile", Thresholds(review=5, reject=5), evidence)
    drawn = sum(int((bar.findtext(f"{SVG}title") or "0").split()[0]) for bar in bars(svg))
    assert drawn == len(evidence.held_out)
    assert "nan" not in svg


def test_nothing_in_a_name_becomes_markup() -> None:
    svg = score_picture("<script>&", Thresholds(review=1, reject=2), EVIDENCE)
    assert "<script>" not in svg
    ET.fromstring(svg)
