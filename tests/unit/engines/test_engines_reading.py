"""However many images there are, what is kept of them for the choice of a bank is bounded."""

from collections.abc import Sequence

import numpy as np
import pytest

from partgate_engines._openvino import OpenVinoGraph
from partgate_engines.anomaly import GoodImage, Learned, _reading, quiet
from partgate_engines.anomaly._reading import Reader, _Pool

FEATURES = 152
MOST = 600 * FEATURES


@pytest.fixture
def little_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_reading, "_LARGEST_POOL", MOST)


@pytest.mark.parametrize("count", [2, 9, 10, 30])
def test_patches_take_no_more_than_their_room_and_every_image_has_its_share(
    little_room: None, learned: Learned, good: Sequence[GoodImage], count: int
) -> None:
    reader = Reader(graph=OpenVinoGraph(learned.graph, with_features=True), regions=(), progress=quiet)
    patches = reader.patches(good[:count], first=5, seed=0)
    assert patches.rows.size <= MOST
    share = min(64, 600 // count)
    assert np.bincount(patches.origin)[5:].tolist() == [share] * count
    assert patches.rows.base is not None, "a view of the block, not a copy of it"


def test_more_images_than_rows_have_room_still_get_one_row_each(little_room: None) -> None:
    pool = _Pool(images=700, features=FEATURES, seed=0)
    for n in range(700):
        pool.add(np.full((3, FEATURES), n, dtype=np.float32))
    assert pool.rows[:, 0].tolist() == list(range(700))
    assert pool.origin(0).tolist() == list(range(700))
