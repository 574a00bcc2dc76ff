"""Thresholds changed without learning, as a line engineer does it."""

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from sqlmodel import col, select

from commands import Done, in_process, last_json, opened
from partgate.records import Audit, Model, active, verify_audit

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def product(copied_home: Path) -> str:
    with opened(copied_home) as database, database.read() as session:
        return session.exec(select(Model.product).limit(1)).one()


def test_a_dry_run_shows_and_changes_nothing(
    copied_home: Path, product: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*arguments: str | Path) -> Done:
        return in_process("recipe", *arguments, home=copied_home, capsys=capsys)

    before = last_json(run("show", product, "--json"))
    told = last_json(run("threshold", product, "--review", "0", "--reject", "0", "--dry-run", "--json"))
    assert told["changed"] is False
    assert told["recipe_version"] is None
    good = told["after"]["effect"]["held_out"]
    assert good["reject"] == good["of"] == before["calibration"]["card"]["parts"]
    assert told["before"]["effect"] == before["effect"]
    assert last_json(run("show", product, "--json")) == before


def test_a_change_is_in_force_with_who_and_why_and_can_be_taken_back(
    copied_home: Path, product: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*arguments: str | Path) -> Done:
        return in_process(*arguments, home=copied_home, capsys=capsys)

    before = last_json(run("recipe", "show", product, "--json"))
    told = run(
        "recipe", "threshold", product, "--false-rejects", "1/500", "--reason", "lot 7", "--by", "Vera"
    )
    assert told.returncode == 0, told.stderr
    assert "too few to guarantee at most 1 good part in 500" in told.stderr
    assert "it takes 1,497" in told.stderr
    after = last_json(run("recipe", "show", product, "--json"))
    latest = after["versions"][0]
    assert latest["active"] is True
    assert latest["version"] == before["versions"][0]["version"] + 1
    assert latest["created_by"].startswith("Vera (cli:")
    assert latest["reason"].startswith("lot 7 (for at most 1/500")
    assert after["thresholds"] == latest["thresholds"] != before["thresholds"]
    assert after["model"] == before["model"]
    with opened(copied_home) as database, database.read() as session:
        assert session.exec(select(Audit).where(col(Audit.what) == "recipe.threshold")).one().why
        assert verify_audit(session) is None
    assert run("models", "rollback", product).returncode == 0
    assert last_json(run("recipe", "show", product, "--json"))["thresholds"] == before["thresholds"]


def test_show_draws_the_scores(
    copied_home: Path, product: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    svg = tmp_path / "scores.svg"
    done = in_process("recipe", "show", product, "--svg", svg, home=copied_home, capsys=capsys)
    assert done.returncode == 0, done.stderr
    assert "good parts learned from, held out" in done.stdout
    assert ET.fromstring(svg.read_text()).tag.endswith("svg")


@pytest.mark.parametrize(
    ("arguments", "code", "why"),
    [
        (("--review", "1e9", "--reason", "x"), 78, "must not lie above reject"),
        (("--review", "nan", "--reason", "x"), 78, "finite"),
        (("--false-rejects", "0.2", "--reason", "x"), 78, "such as 1/500"),
        (("--false-reviews", "1/9", "--review", "1", "--reason", "x"), 78, "goes with --false-rejects"),
        (("--reason", "x"), 2, "--false-rejects"),
        (("--review", "1", "--false-rejects", "1/500", "--reason", "x"), 2, "--false-rejects"),
        (("--review", "1"), 2, "--reason"),
        (("--review", "1", "--confidence", "0.99", "--reason", "x"), 2, "--confidence goes with"),
        (("--confidence", "0.99", "--reason", "x"), 2, "--confidence goes with"),
    ],
)
def test_what_makes_no_sense_is_refused_and_changes_nothing(
    copied_home: Path,
    product: str,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    code: int,
    why: str,
) -> None:
    with opened(copied_home) as database, database.read() as session:
        before = active(session, product)
    done = in_process("recipe", "threshold", product, *arguments, home=copied_home, capsys=capsys)
    assert done.returncode == code
    assert why in done.stderr
    with opened(copied_home) as database, database.read() as session:
        assert active(session, product) == before


@pytest.mark.parametrize(
    "asked",
    [
        pytest.param(("show", "nothing"), id="show"),
        pytest.param(("threshold", "nothing", "--reject", "9", "--dry-run"), id="threshold"),
        pytest.param(
            ("threshold", "nothing", "--region", "edge", "--reject", "9", "--dry-run"), id="a region's"
        ),
    ],
)
def test_a_product_that_is_not_there_is_named(
    asked: tuple[str, ...], copied_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = in_process("recipe", *asked, home=copied_home, capsys=capsys)
    assert done.returncode == 66
    assert "'nothing' has no recipe in force" in done.stderr
