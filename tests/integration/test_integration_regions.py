"""Limits of regions, by the commands a line engineer types."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sqlmodel import col, select

from commands import Done, in_process, last_json, opened
from partgate.records import Audit, active, verify_audit
from partgate_cameras import draw_part
from partgate_station import VirtualCamera

pytestmark = pytest.mark.timeout(300)

LINE = VirtualCamera(kind="virtual", camera_id="top", texture="gravel", seed=5, size_px=160, defect_rate=0)
RECIPE = """
[[regions]]
name = "whole"
polygon = [[0, 0], [160, 0], [160, 160], [0, 160]]

[[regions]]
name = "label"
polygon = [[0, 0], [160, 0], [160, 60], [0, 60]]
"""


@pytest.fixture(scope="module")
def learned_home(demo_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a home, and parts of gravel with a label of noise, whose patches are all much alike."""
    folder = tmp_path_factory.mktemp("regions")
    shutil.copytree(demo_home / "graphs", folder / "home" / "graphs")
    (folder / "good").mkdir()
    for number in range(22):
        pixels = draw_part(LINE, number).image.copy()
        random = np.random.default_rng(number)
        pixels[:60] = random.integers(0, random.integers(100, 256), pixels[:60].shape)
        Image.fromarray(pixels).save(folder / "good" / f"{number}.png")
    (folder / "label.toml").write_text(RECIPE)
    return folder


@pytest.fixture(scope="module")
def learned(learned_home: Path) -> dict[str, Any]:
    from commands import partgate

    given = ("--good", learned_home / "good", "--recipe", learned_home / "label.toml")
    return last_json(partgate("learn", "box", *given, "--json", home=learned_home / "home"))


@pytest.fixture
def home(learned_home: Path, learned: dict[str, Any], tmp_path: Path) -> Path:
    assert learned["product"] == "box"
    return Path(shutil.copytree(learned_home / "home", tmp_path / "home"))


def test_learning_reports_the_limits_of_each_region(learned: dict[str, Any]) -> None:
    facts = {one["name"]: one for one in learned["regions"]}
    assert [one["set_by"] for one in facts.values()] == ["learning", "learning"]
    assert facts["whole"]["sensitivity"] == 1.0 < facts["label"]["sensitivity"]
    thresholds = learned["calibration"]["thresholds"]
    for one in facts.values():
        assert one["thresholds"]["reject"] == pytest.approx(thresholds["reject"] / one["sensitivity"])
        assert one["good_parts"]["n"] == learned["calibration"]["card"]["parts"]
        assert one["good_parts"]["median"] < one["good_parts"]["highest"]
    assert facts["label"]["good_parts"]["highest"] < facts["whole"]["good_parts"]["median"]
    page = Path(learned["page"]).read_text(encoding="utf-8")
    assert "Limits of regions" in page
    assert "<td>label</td>" in page


def test_learning_again_keeps_what_is_in_force_and_says_so(
    home: Path, learned_home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*arguments: str | Path) -> Done:
        return in_process(*arguments, home=home, capsys=capsys)

    recipe = tmp_path / "quick.toml"
    recipe.write_text(f'deadline_ms = 200\nreview_gate = "accept"\n{RECIPE}')
    good = ("--good", learned_home / "good")
    first = last_json(run("learn", "box", *good, "--recipe", recipe, "--json"))
    assert first["kept"]["recipe_version"] == 1
    assert "regions" not in first["kept"], "the file says what is judged"
    assert run("models", "activate", first["model"][:12]).returncode == 0
    change = ("recipe", "threshold", "box", "--region", "label", "--sensitivity", "1.5", "--reason", "ink")
    assert run(*change).returncode == 0
    asked = ("--false-rejects", "1/50", "--confidence", "0.9")
    again = last_json(run("learn", "box", *good, *asked, "--json"))
    kept = again["kept"]
    assert (kept["deadline_ms"], kept["review_gate"], kept["budget"]) == (200, "accept", None)
    assert [one["name"] for one in kept["regions"]] == ["whole", "label"]
    assert again["regions"][1]["sensitivity"] == 1.5
    assert again["calibration"]["card"]["reject"]["one_in"] == 50
    assert run("models", "activate", again["model"][:12]).returncode == 0
    told = run("learn", "box", *good, "--region", "0,0 160,0 160,100")
    assert told.returncode == 0, told.stderr
    assert "which is in force: a deadline of 200 ms, the gate that accepts what is for review, at most" in (
        told.stdout
    )
    assert "1/50 of the good parts rejected and 1/20 flagged, 90 % confidence. --recipe" in told.stdout


def test_a_regions_limit_is_tried_changed_and_taken_back(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*arguments: str | Path) -> Done:
        return in_process(*arguments, home=home, capsys=capsys)

    before = last_json(run("recipe", "show", "box", "--json"))
    whole, label = before["regions"]
    low = f"{whole['thresholds']['reject'] / 4:.6g}"
    change = ("recipe", "threshold", "box", "--region", "whole", "--reject", low)

    tried = last_json(run(*change, "--dry-run", "--json"))
    assert tried["changed"] is False
    assert tried["unknown"] == []
    assert tried["before"]["effect"]["held_out"] == before["effect"]["held_out"]
    assert tried["before"]["limits"]["sensitivity"] == whole["sensitivity"]
    assert tried["after"]["limits"]["reject"] == pytest.approx(float(low))
    after = tried["after"]["effect"]["held_out"]
    assert after["of"] == before["effect"]["held_out"]["of"]
    assert after["reject"] > before["effect"]["held_out"]["reject"]
    assert last_json(run("recipe", "show", "box", "--json")) == before

    made = last_json(run(*change, "--reason", "scratches of lot 7", "--by", "Vera", "--json"))
    assert made["changed"] is True
    shown = last_json(run("recipe", "show", "box", "--json"))
    assert shown["versions"][0]["version"] == before["versions"][0]["version"] + 1 == made["recipe_version"]
    assert shown["versions"][0]["created_by"].startswith("Vera (cli:")
    assert shown["thresholds"] == before["thresholds"]
    assert shown["regions"][0]["set_by"] == "recipe"
    assert shown["regions"][1] == label
    assert shown["effect"]["held_out"]["of"] == 0  # scored with other limits
    assert "were scored with other limits" in run("recipe", "show", "box").stdout
    with opened(home) as database, database.read() as session:
        row = session.exec(select(Audit).where(col(Audit.what) == "recipe.region")).one()
        assert row.after == {"whole": pytest.approx(4, rel=1e-4), "label": label["sensitivity"]}
        assert verify_audit(session) is None

    refused = run("recipe", "threshold", "box", "--false-rejects", "1/100", "--dry-run")
    assert refused.returncode == 78
    assert "count differently since the model was learned" in refused.stderr
    assert run("models", "rollback", "box", "--reason", "no").returncode == 0
    assert last_json(run("recipe", "show", "box", "--json"))["regions"] == before["regions"]


def test_the_change_reads_well(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = in_process(
        "recipe", "threshold", "box", "--region", "whole", "--sensitivity", "0.5", "--dry-run",
        home=home, capsys=capsys,
    )  # fmt: skip
    assert "region 'whole': counts 1 -> 0.5 times, review" in done.stdout
    assert "good parts learned from, held out" in done.stdout
    assert "Nothing was changed" in done.stdout


@pytest.mark.parametrize(
    ("given", "code", "says"),
    [
        (
            ("--region", "back", "--reject", "9"),
            78,
            "no region 'back' in the recipe of 'box'; it has whole, label",
        ),
        (("--region", "label", "--sensitivity", "21"), 78, "allowed is 0.05 to 20"),
        (("--region", "whole", "--sensitivity", "1"), 78, "has sensitivity 1 already"),
        (("--region", "label", "--reject", "0"), 78, "a region's own may lie from"),
        (("--region", "label"), 2, "give --reject X or --sensitivity X"),
        (("--region", "label", "--reject", "9", "--sensitivity", "2"), 2, "one of the two alone"),
        (("--region", "label", "--review", "9", "--sensitivity", "2"), 2, "one of the two alone"),
        (("--sensitivity", "2"), 2, "name it with --region NAME"),
    ],
    ids=["unknown", "too much", "the same", "zero", "nothing", "both", "review", "no region"],
)
def test_what_cannot_be_done_is_said(
    given: tuple[str, ...], code: int, says: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = in_process("recipe", "threshold", "box", *given, "--reason", "why", home=home, capsys=capsys)
    assert done.returncode == code
    assert says in " ".join(done.stderr.replace("│", " ").split())
    with opened(home) as database, database.read() as session:
        now = active(session, "box")
        assert now is not None
        assert now.recipe.region("whole").sensitivity == 1.0
