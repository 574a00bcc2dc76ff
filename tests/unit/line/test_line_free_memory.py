"""What an outage leaves in the allocator goes back to the system before parts come again."""

import ctypes
import time
from itertools import groupby
from pathlib import Path

import pytest

from partgate.line import _free_memory
from partgate.line._free_memory import give_back_free_memory
from partgate.line._notify import Notify
from partgate.line._supervision import Supervision
from watched_station import FakeStation

BLOCK_BYTES, BLOCKS, ONE_KEPT_OF = 2000, 50_000, 100


def own_mb() -> float:
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in status if line.startswith("RssAnon"))


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="only glibc's allocator can")
def test_free_blocks_between_used_ones_go_back() -> None:
    blocks = [bytearray(BLOCK_BYTES) for _ in range(BLOCKS)]
    kept = blocks[::ONE_KEPT_OF]
    del blocks
    before = own_mb()
    give_back_free_memory()
    assert before - own_mb() > 0.7 * BLOCKS * BLOCK_BYTES / 2**20
    assert len(kept) == BLOCKS // ONE_KEPT_OF


def test_an_allocator_that_cannot_is_let_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_free_memory, "_trim", lambda: None)
    give_back_free_memory()


def test_it_is_given_back_whenever_parts_may_come_again_and_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    station = FakeStation(tmp_path)
    happened: list[str] = []
    monkeypatch.setattr("partgate.line._supervision.give_back_free_memory", lambda: happened.append("memory"))
    monkeypatch.setattr(
        station.output, "ready", lambda *, parts_may_come: happened.append(f"ready {parts_may_come}")
    )
    with Supervision("one", notify=Notify(None)) as supervision:
        supervision.watch(station.watched())
        supervision.turned()
        for is_ready in (False, True):
            station.recorder.problem = None if is_ready else "away"
            while supervision.ready()[0] is not is_ready or happened[-1] != f"ready {is_ready}":
                time.sleep(0.01)
    assert [what for what, _ in groupby(happened)] == [
        "ready False",
        "memory",
        "ready True",
        "ready False",
        "memory",
        "ready True",
        "ready False",
    ]
