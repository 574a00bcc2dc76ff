"""Images that are gone from the disk: named, and in nobody's way longer than they must."""

from pathlib import Path

import pytest
from sqlmodel import select

from commands import Done, in_process, last_json, opened, review_rejected
from partgate.records import Finding, Frame, SnapshotImage

pytestmark = pytest.mark.timeout(300)


def lose(home: Path, sha256: str | None) -> None:
    """Delete an image's file, as no program of ours does."""
    (home / "images" / (sha256 or "")[:2] / f"{sha256}.jxl").unlink()


def test_retraining_names_what_is_missing_and_goes_on_without_it(
    copied_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*arguments: str | Path) -> Done:
        return in_process(*arguments, home=copied_home, capsys=capsys)

    lost, there = review_rejected(copied_home, [Finding.GOOD] * 2)
    with opened(copied_home) as database, database.read() as session:
        frame = session.exec(select(Frame).where(Frame.part_id == lost.id)).one()
        learned = session.exec(select(SnapshotImage).where(SnapshotImage.position == 3)).one()
    lose(copied_home, frame.image_sha256)
    done = run("retrain", "brick", "--json")
    made = last_json(done)
    assert made["added_parts"] == [str(there.id)]
    assert [score["part"] for score in made["reviewed"]["scores"]] == [str(there.id)]
    assert f"parts=part:{lost.id}" in done.stderr
    assert "images of reviewed parts are missing from the image store; they are left out" in done.stderr

    # A model counts what it was learned from: without one of them it must be made anew.
    lose(copied_home, learned.image_sha256)
    refused = run("retrain", "brick")
    assert refused.returncode == 66
    assert f"1 of {made['good_images']} good images to learn from are missing" in refused.stderr
    assert learned.origin in refused.stderr
    assert "partgate models forget PRODUCT --image NAME" in refused.stderr
    forgotten = last_json(
        run("models", "forget", "brick", "--image", learned.origin, "--reason", "its file is gone", "--json")
    )
    assert forgotten["forgotten"] == [
        {**forgotten["forgotten"][0], "image": learned.origin, "score": None, "verdict": "UNDECIDED"}
    ]
    assert Path(forgotten["page"]).is_file()
    assert run("models", "activate", forgotten["model"][:12]).returncode == 0
    assert last_json(run("retrain", "brick", "--json"))["added_parts"] == [str(there.id)]
