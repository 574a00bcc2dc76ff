"""The benchmarks: one tiny comparison from end to end, and arms that do not say the same."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from partgate_engines.anomaly import Learned

ROOT = Path(__file__).parents[2]
SIZE_PX = 64

# Learning exports a graph with torch and anomalib: ten seconds on a quiet machine, fifty on a busy one.
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(autouse=True, scope="module")
def root_on_path() -> Iterator[None]:
    """`benchmarks` is no installed package: it is found from the project's folder, by the arms too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT)
        yield


@pytest.fixture(scope="module")
def workshop(root_on_path: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bench")


@pytest.fixture(scope="module")
def learned(workshop: Path) -> Learned:
    from benchmarks._bundles import learned_product

    return learned_product(workshop, bank_rows=100, size_px=SIZE_PX, images=6)


@pytest.fixture(scope="module")
def bundle(learned: Learned, workshop: Path) -> Path:
    from benchmarks._bundles import saved

    return saved(learned, workshop).folder


def _compare(ours: Path, other: Path) -> Any:
    from benchmarks._arms import arm, compare
    from benchmarks.judging import map_arm, same_scores

    with arm(map_arm, bundle=ours) as one, arm(map_arm, bundle=other) as two:
        return compare(one, two, rounds=3, same=same_scores)


def test_a_comparison_from_learning_to_the_line_of_bench_json(bundle: Path) -> None:
    from benchmarks._result import Bound, compared

    found = _compare(bundle, bundle)
    line = compared("tiny", found, bound=Bound(value=found.ratio / 2))
    assert (found.rounds, found.answers) == (3, 20)
    assert found.interval[0] <= found.ratio <= found.interval[1]
    assert line.passed is True
    assert line.n == 60
    assert "cores" in line.machine


def test_an_arm_that_says_something_else_is_not_timed(learned: Learned, bundle: Path, workshop: Path) -> None:
    from benchmarks._bundles import saved

    bank = replace(learned.bank, rows=learned.bank.rows[:50], origin=learned.bank.origin[:50])
    wrong = saved(replace(learned, bank=bank), workshop).folder
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        _compare(bundle, wrong)


def test_an_arm_that_cannot_be_made_ready_is_said_and_leaves_no_process(tmp_path: Path) -> None:
    from benchmarks._arms import Arm, ArmFailed
    from benchmarks.judging import map_arm

    with pytest.raises(ArmFailed, match="map_arm"):
        Arm(map_arm, bundle=tmp_path / "no-such-bundle")


def test_more_rows_than_the_bank_has_are_its_own_moved_a_little(learned: Learned) -> None:
    from benchmarks._bundles import with_rows

    more = with_rows(learned, 250).bank
    assert more.rows.shape == (250, learned.bank.rows.shape[1])
    np.testing.assert_array_equal(more.rows[:100], learned.bank.rows)
    assert 0 < np.abs(more.rows[100:200] - learned.bank.rows).max() < 0.01
    with pytest.raises(ValueError, match="has 100 already"):
        with_rows(learned, 99)


@pytest.mark.parametrize(
    ("of", "relation", "value", "holds"),
    [
        pytest.param("ratio", ">=", 4, True, id="ratio-kept"),
        pytest.param("ratio", ">=", 6, False, id="ratio-missed"),
        pytest.param("ours", "<=", 3, True, id="time-kept"),
        pytest.param("ours", "<=", 1, False, id="time-missed"),
    ],
)
def test_bounds(of: Any, relation: Any, value: float, holds: bool) -> None:
    from benchmarks._result import Bound, result

    bound = Bound(of=of, relation=relation, value=value)
    line = result("x", ours=2, other=10, n=1, bound=bound)
    assert line.ratio == 5
    assert line.passed is holds
    assert line.bound == f"{of} {relation} {value}"


def test_the_interval_narrows_with_rounds_that_agree() -> None:
    from benchmarks._arms import interval

    assert interval([5.0] * 30) == (5.0, 5.0)
    low, high = interval([4.0, 6.0] * 15)
    assert 4 <= low < high <= 6


def test_a_stream_counts_lateness_from_when_a_frame_was_due() -> None:
    import time

    from benchmarks.stream import Stream, behind, latencies_ms

    def slow(frame: Any) -> float:
        time.sleep(0.02)
        return 0.0

    stream = Stream(frames=20, rate=100)
    took = latencies_ms(slow, [np.zeros((1, 1), np.uint8)], stream)
    # Due every 10 ms, judged in 20 at least: the last is 200 ms late even though none took longer.
    assert took[-1] >= 20 * 20 - 19 * 10
    assert behind(stream, took)
    assert not behind(stream, [5.0] * 20)


def test_what_a_watched_call_spends_in_another_is_the_others() -> None:
    from benchmarks.stages import Watch

    watch = Watch()
    inner = watch.around(partial(time.sleep, 0.05), "inner")

    def both() -> None:
        inner()
        time.sleep(0.01)

    outer = watch.around(both, "outer")
    started_s = time.perf_counter()
    outer()
    whole_ms = 1000 * (time.perf_counter() - started_s)
    assert watch.spent_ms["inner"] >= 50
    assert watch.spent_ms["outer"] >= 10
    assert watch.spent_ms["inner"] + watch.spent_ms["outer"] <= whole_ms


def test_stages_are_told_apart_by_where_operators_stand_and_add_up() -> None:
    from benchmarks.stages import by_part, stages_of

    operators = [
        ("/Cast", 1.0),
        ("/MatMul", 2.0),
        ("/_model/feature_extractor/blocks.0/Conv", 4.0),
        ("/_model/feature_extractor/blocks.1/Conv", 8.0),
        ("/MatMul_2", 16.0),
    ]
    parts = by_part(operators)
    assert parts == {"resize": 3.0, "backbone": 12.0, "head": 16.0}
    outside = {"cut": 5.0, "hand over": 0.5, "bind": 1.0, "infer": 32.0, "read": 2.0}
    stages = stages_of({"whole": 41.5, **outside, **parts})
    assert stages["between operators"] == 1.0
    assert sum(stages.values()) == sum(outside.values())
    with pytest.raises(AssertionError, match="another shape"):
        by_part([("/Cast", 1.0)])


def test_a_table_goes_between_the_marks_of_a_document(tmp_path: Path) -> None:
    from benchmarks._result import Bound, result
    from benchmarks._table import BEGIN, END, fill, markdown

    document = tmp_path / "README.md"
    document.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    lines = [result("one or two", ours=2, other=10, n=1, bound=Bound(value=6), interval=(4.5, 5.5))]
    fill(document, markdown(lines))
    text = document.read_text()
    assert "old" not in text
    assert text.startswith(f"before\n{BEGIN}\n")
    assert text.endswith(f"{END}\nafter\n")
    assert "| ratio >= 6 MISSED |" in text
    assert "4.5 to 5.5" in text


def test_an_unknown_benchmark_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    out = tmp_path / "bench.json"
    command = [sys.executable, "-m", "benchmarks", "unknown", "--out", str(out)]
    refused = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert refused.returncode == 2
    assert "invalid choice" in refused.stderr
    assert not out.exists()


def test_what_programs_read_of_a_result_is_there() -> None:
    from dataclasses import asdict

    from benchmarks._result import result

    line = json.loads(json.dumps(asdict(result("x", ours=1, other=2, n=3))))
    assert {"name", "ours", "other", "ratio", "unit", "n", "machine"} <= set(line)
