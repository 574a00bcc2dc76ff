"""Anomaly maps are made for the parts that people look at, once their verdict has left."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np
import pytest
from numpy.typing import NDArray

from one_by_one import OneByOne
from partgate.line._decide import JudgedFrame, with_maps
from partgate.line._judge import Judge
from partgate_cameras import Frame
from partgate_engines import AnomalyResult, DeviceFailed, GraphRefused
from partgate_station import Recipe, Region, Thresholds, Verdict

REGION = Region(polygon=((0, 0), (8, 0), (8, 8)), camera_id="top")
MAP = np.arange(4, dtype=np.float32).reshape(2, 2)


@dataclass
class Mapping(OneByOne):
    """A runtime that has a map for every frame and remembers what was asked."""

    fails: Callable[[], None] = lambda: None
    box: tuple[int, int, int, int] | None = None
    asked: list[tuple[Region, ...]] = field(default_factory=list)
    name: str = "mapping"

    def judge(self, frame: NDArray[np.uint8], regions: tuple[Region, ...] = ()) -> AnomalyResult:
        self.fails()
        self.asked.append(regions)
        return AnomalyResult(score=9.0, anomaly_map=MAP, box=self.box)

    def close(self) -> None: ...


def judge_with(runtime: Mapping) -> Judge:
    thresholds = Thresholds(review=1.0, reject=2.0)
    recipe = Recipe(product="tile", thresholds=thresholds, regions=(REGION,))
    return Judge(activation_id=1, recipe_id=1, model_id="m", recipe=recipe, runtime=runtime)


def frame(camera_id: str, score: float | None = 1.5) -> JudgedFrame:
    taken = Frame(
        image=np.zeros((8, 8), np.uint8),
        camera_id=camera_id,
        frame_id=1,
        camera_timestamp_ns=None,
        received_at=datetime.now(UTC),
    )
    return JudgedFrame(frame=taken, score=score)


@pytest.mark.parametrize("verdict", list(Verdict))
def test_only_what_the_model_flagged_is_mapped(verdict: Verdict) -> None:
    runtime = Mapping()
    found = with_maps(judge_with(runtime), [frame("top"), frame("side")], verdict)
    flagged = verdict in {Verdict.REVIEW, Verdict.REJECT}
    assert [judged.anomaly_map is MAP for judged in found] == [flagged, flagged]
    assert [judged.score for judged in found] == [1.5, 1.5], "the score that the verdict rests on stays"
    assert runtime.asked == ([(REGION,), ()] if flagged else [])


def test_a_frame_that_was_not_scored_has_no_map() -> None:
    runtime = Mapping()
    (judged,) = with_maps(judge_with(runtime), [frame("top", score=None)], Verdict.REJECT)
    assert (judged.anomaly_map, runtime.asked) == (None, [])


def test_a_map_that_cannot_be_had_costs_nothing_else() -> None:
    def fails() -> None:
        raise GraphRefused("no map today")

    (judged,) = with_maps(judge_with(Mapping(fails=fails)), [frame("top")], Verdict.REJECT)
    assert (judged.score, judged.anomaly_map) == (1.5, None)


def test_a_device_that_fails_while_mapping_ends_the_station() -> None:
    def fails() -> None:
        raise DeviceFailed("GPU: an illegal memory access was encountered")

    with pytest.raises(DeviceFailed):
        with_maps(judge_with(Mapping(fails=fails)), [frame("top")], Verdict.REJECT)


@pytest.mark.parametrize("box", [None, (1, 2, 7, 8)])
def test_where_a_map_lies_goes_with_it(box: tuple[int, int, int, int] | None) -> None:
    (found,) = with_maps(judge_with(Mapping(box=box)), [frame("top")], Verdict.REJECT)
    assert found.map_box == (box or (0, 0, 8, 8))
