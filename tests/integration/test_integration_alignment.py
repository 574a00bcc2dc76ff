"""A product whose parts move: learned with `--align`, scored, and judged by a station."""

import json
import uuid
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from sqlmodel import Session, select

from commands import Done, in_process, last_json, opened
from partgate.records import Finding, Part, Review, User

pytestmark = pytest.mark.timeout(300)

WIDTH, HEIGHT = 240, 160
REGION = "68,48 172,48 172,92 68,112"


def _plate(random: np.random.Generator, *, off: float, scratch: bool = False) -> NDArray[np.uint8]:
    """Draw a plate on a cluttered belt, moved and turned by up to `off` times 14 px and 9 degrees."""
    frame = np.full((HEIGHT, WIDTH), 30, dtype=np.uint8)
    for x, y, dx, dy in random.integers(0, (WIDTH, HEIGHT, 40, 40), (12, 4)):
        cv2.line(frame, (int(x), int(y)), (int(x + dx), int(y + dy)), 55, 2)
    turn = np.radians(random.uniform(-9, 9) * off)
    middle = np.array([WIDTH / 2, HEIGHT / 2]) + random.uniform(-14, 14, 2) * off
    about = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])

    def placed(points: list[tuple[float, float]]) -> NDArray[np.int32]:
        return np.asarray(np.round((np.array(points) @ about.T + middle) * 16), dtype=np.int32)

    cv2.fillPoly(frame, [placed([(-60, -38), (60, -38), (60, 18), (42, 38), (-60, 38)])], 160, cv2.LINE_AA, 4)
    if scratch:
        (x1, y1), (x2, y2) = placed([(-20, -10), (12, 14)])
        cv2.line(frame, (int(x1), int(y1)), (int(x2), int(y2)), 60, 4, cv2.LINE_AA, 4)
    return np.clip(frame + random.normal(0, 3, frame.shape), 0, 255).astype(np.uint8)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    random = np.random.default_rng(1)
    drawn = {
        **{f"good/{n:02}": _plate(random, off=1) for n in range(14)},
        **{f"new/good-{n}": _plate(random, off=1) for n in range(4)},
        **{f"new/scratched-{n}": _plate(random, off=1, scratch=True) for n in range(4)},
        "new/lost": np.clip(random.normal(30, 3, (HEIGHT, WIDTH)), 0, 255).astype(np.uint8),
        "known/lost": np.clip(random.normal(30, 3, (HEIGHT, WIDTH)), 0, 255).astype(np.uint8),
        "known/scratched": _plate(random, off=1, scratch=True),
    }
    for name, pixels in drawn.items():
        path = tmp_path / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(path), pixels)
    return tmp_path


def _verdicts(path: Path) -> dict[str, dict[str, Any]]:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return {Path(line["file"]).stem: line for line in lines}


def _station(pictures: Path) -> Path:
    path = pictures / "station.toml"
    path.write_text(
        'schema_version = 1\nstation_id = "press"\nproduct = "plate"\n[trigger]\nkind = "continuous"\n'
        f'[[cameras]]\nkind = "folder"\ncamera_id = "top"\nfolder = "{pictures / "new"}"\n'
    )
    return path


def _parts(home: Path) -> list[Part]:
    with opened(home) as database, database.read() as session:
        return list(session.exec(select(Part).where(Part.station_id == "press").order_by("trigger_id")).all())


def _review(home: Path, findings: dict[str, Finding]) -> None:
    """Record what QA found parts, by their ids, to be."""

    def decide(session: Session) -> None:
        session.add(User(id=1, name="qa", password_hash="unused"))
        session.flush()
        for part, finding in findings.items():
            session.add(Review(part_id=uuid.UUID(part), finding=finding, reviewer_id=1))

    with opened(home) as database:
        database.write(decide).result()


def test_parts_that_move_are_learned_scored_and_judged(
    copied_home: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*arguments: str | Path) -> Done:
        done = in_process(*arguments, home=copied_home, capsys=capsys)
        assert done.returncode == 0, done.stderr
        return done

    run("learn", "plate", "--good", pictures / "good", "--region", REGION, "--align", "--bank", "400",
        "--keep-outliers", "--json")  # fmt: skip
    run("models", "verify", "plate")
    scores = pictures / "scores.jsonl"
    run("score", "plate", pictures / "new", "--skip-bad", "--json", scores, "--maps", pictures / "maps")
    found = _verdicts(scores)
    assert found["lost"]["verdict"] == "UNDECIDED"
    assert "grey" in found["lost"]["error"] or "likeness" in found["lost"]["error"]
    good = [line["score"] for name, line in found.items() if name.startswith("good")]
    scratched = [line["score"] for name, line in found.items() if name.startswith("scratched")]
    assert min(scratched) > max(good)
    assert all(found[f"scratched-{n}"]["verdict"] in ("REVIEW", "REJECT") for n in range(4))

    told = last_json(run("run", _station(pictures), "--json"))
    assert told["balanced"] is True
    parts = _parts(copied_home)
    reasons = [part.reason or "" for part in parts]
    assert len(parts) == 9
    assert reasons[4].startswith("NOT_LOCATED: "), reasons
    assert [part.verdict for part in parts[5:]] == [found[f"scratched-{n}"]["verdict"] for n in range(4)]


def test_parts_that_move_are_traced_added_and_forgotten(
    copied_home: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*arguments: str | Path) -> dict[str, Any]:
        return last_json(in_process(*arguments, "--json", home=copied_home, capsys=capsys))

    first = run("learn", "plate", "--good", pictures / "good", "--defects", pictures / "known", "--align",
                "--region", REGION, "--bank", "400", "--keep-outliers")  # fmt: skip
    assert [score is None for score in first["defective_scores"]] == [True, False], "the first shows no part"
    assert Path(first["page"]).is_file()
    run("run", _station(pictures))
    parts = [str(part.id) for part in _parts(copied_home)]
    lost, wrong, *scratched = parts[4:]

    # A place is one of the picture, not of the taught part: it is on the scratch.
    traced = run("models", "trace", "plate", "--part", wrong)
    left, top, right, bottom = traced["box"]
    shown = cv2.imread(str(pictures / "new" / "scratched-0.png"), cv2.IMREAD_GRAYSCALE)
    assert shown is not None
    assert shown[top:bottom, left:right].mean() < 110, (
        "a scratch has a grey level of 60, the plate one of 160"
    )
    at = f"{(left + right) / 2},{(top + bottom) / 2}"
    assert run("models", "trace", "plate", "--part", wrong, "--at", at)["box"] == traced["box"]

    # What QA found good and is not in its place is left out and named; the rest joins.
    good = dict.fromkeys((lost, wrong), Finding.GOOD)
    _review(copied_home, good | dict.fromkeys(scratched, Finding.DEFECTIVE))
    made = run("retrain", "plate")
    assert [one["image"] for one in made["added"]] == [f"part:{wrong}"]
    assert [one["image"] for one in made["not_located"]] == [f"part:{lost}"]
    assert "likeness" in made["not_located"][0]["why"] or "grey" in made["not_located"][0]["why"]
    assert made["reviewed"]["good"]["frames"] == 2
    page = Path(made["page"]).read_text(encoding="utf-8")
    assert "Came in" in page
    assert f"part:{lost} was said to be good and is not learned" in page
    assert page.count('src="data:image/jpeg') >= 2 * (1 + 6 + 3)

    # It would let through what it took for good, and is not put into force by the way.
    activate = ("models", "activate", made["model"][:12])
    refused = in_process(*activate, home=copied_home, capsys=capsys)
    assert refused.returncode == 2
    assert "found defective in review would no longer be" in refused.stderr
    assert in_process(*activate, "--reason", "to see", home=copied_home, capsys=capsys).returncode == 0
    vouches = run("models", "trace", "plate", "--part", scratched[0])["vouchers"][0]
    assert vouches["origin"] == f"part:{wrong}", "its scratch alone is like this one"

    gone = run("models", "forget", "plate", "--part", wrong, "--reason", "a scratch")
    assert [one["verdict"] for one in gone["forgotten"]] == ["REJECT"]
    assert gone["forgotten"][0]["score"] > 2 * gone["thresholds"]["reject"]
    assert gone["thresholds"]["review"] == pytest.approx(
        first["calibration"]["thresholds"]["review"], rel=0.1
    )
