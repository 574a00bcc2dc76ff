"""The whole way: demo, ledger, review, a better model, and the running station that takes it up."""

import json
import shutil
import signal
from pathlib import Path

from sqlmodel import col, select

from commands import (
    DEMO_PARTS,
    STATIONS,
    last_json,
    model_of_last_part,
    opened,
    partgate,
    review_rejected,
    station,
    wait_for,
    wait_for_parts,
)
from partgate.records import (
    Finding,
    Frame,
    Home,
    ImageStore,
    Part,
    balance,
    utc_now,
    verify_audit,
)
from partgate_station import Verdict


def test_the_demo_finds_what_it_must(demo_home: Path) -> None:
    result = json.loads((demo_home.parent / "demo.json").read_text().splitlines()[-1])
    assert result["parts"] == result["triggers"] == DEMO_PARTS
    assert result["balanced"] is True
    assert result["open"] == result["undecided"] == 0
    assert result["accept"] + result["review"] + result["reject"] == DEMO_PARTS
    assert result["escapes"] <= 2
    assert result["false_rejects"] <= 3
    assert 0 < result["latency_ms"]["p50"] <= result["latency_ms"]["p99_9"] <= result["latency_ms"]["max"]


def test_the_demo_in_a_pipe_is_a_plain_log(demo_home: Path) -> None:
    log = (demo_home.parent / "demo.log").read_text()
    assert "\x1b" not in log
    assert "Learned 'brick' from 40 good parts" in log


def test_a_second_demo_goes_on_in_the_same_home(copied_home: Path) -> None:
    done = partgate("demo", "--no-serve", "--json", "--parts", "5", home=copied_home)
    assert last_json(done)["triggers"] == DEMO_PARTS + 5
    assert "knows 'brick' already" in done.stderr


def test_the_ledger_balances_and_says_when_it_does_not(copied_home: Path) -> None:
    assert last_json(partgate("ledger", "--json", home=copied_home))["triggers"] == DEMO_PARTS
    with opened(copied_home) as database:
        forgotten = Part(station_id="virtual", trigger_id=DEMO_PARTS + 1, triggered_at=utc_now())
        database.write(lambda session: session.add(forgotten)).result()
    done = partgate("ledger", home=copied_home)
    assert done.returncode == 1
    assert "NOT BALANCED" in done.stdout


def test_every_part_has_its_image_and_every_flagged_one_its_map(demo_home: Path) -> None:
    store = ImageStore(Home.open(demo_home))
    with opened(demo_home) as database, database.read() as session:
        rows = session.exec(select(Frame, Part.verdict).join(Part)).all()
        assert len(rows) == DEMO_PARTS
        for frame, verdict in rows:
            assert store.get(frame.image_sha256 or "").shape == (frame.height_px, frame.width_px)
            assert (frame.map_sha256 is None) == (verdict is Verdict.ACCEPT)
            assert frame.map_sha256 is None or store.get_map(frame.map_sha256).ndim == 2


def test_retraining_learns_what_qa_overturned_and_rollback_goes_back(copied_home: Path) -> None:
    nothing = partgate("retrain", "brick", home=copied_home)
    assert nothing.returncode == 65
    assert "nothing new to learn for 'brick'" in nothing.stderr

    first = json.loads(partgate("models", "list", "--json", home=copied_home).stdout)[0]["model"]
    overturned = review_rejected(copied_home, [Finding.GOOD] * 2)
    report = last_json(partgate("retrain", "brick", "--json", home=copied_home))
    candidate = report["model"]
    assert report["added_parts"] == sorted(str(part.id) for part in overturned)
    assert report["reviewed"]["good"] == {"frames": 2, "flagged_before": 2, "flagged_after": 0}
    for score in report["reviewed"]["scores"]:
        assert score["after"] < score["before"]

    listed = json.loads(partgate("models", "list", "brick", "--json", home=copied_home).stdout)
    assert [(m["model"], m["active"]) for m in listed] == [(candidate, False), (first, True)]
    shown = last_json(partgate("models", "show", candidate[:12], home=copied_home))
    assert shown["parent"] == first
    assert shown["manifest"]["golden"]["references"].startswith("openvino "), "an update imports no torch"
    assert {f"part:{part.id}" for part in overturned} <= {
        good["origin"] for good in shown["manifest"]["good"]
    }

    assert partgate("models", "activate", candidate[:12], home=copied_home).returncode == 0
    again = partgate("retrain", "brick", home=copied_home)
    assert again.returncode == 65
    assert partgate("models", "rollback", "brick", "--reason", "test", home=copied_home).returncode == 0
    listed = json.loads(partgate("models", "list", "brick", "--json", home=copied_home).stdout)
    assert [m["active"] for m in listed] == [False, True]
    with opened(copied_home) as database, database.read() as session:
        assert verify_audit(session) is None


def test_a_running_station_takes_up_a_new_model_between_two_parts(copied_home: Path) -> None:
    review_rejected(copied_home, [Finding.GOOD])
    candidate = last_json(partgate("retrain", "brick", "--json", home=copied_home))["model"]
    with station(copied_home, STATIONS / "virtual.toml") as process:
        wait_for_parts(copied_home, DEMO_PARTS + 3)
        assert partgate("models", "activate", candidate, home=copied_home).returncode == 0
        wait_for(lambda: model_of_last_part(copied_home) == candidate)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=20)
    assert process.returncode == 0, err
    assert "changeover" in err
    assert "balanced" in out
    with opened(copied_home) as database, database.read() as session:
        parts = session.exec(select(Part).order_by(col(Part.trigger_id))).all()
        assert [part.trigger_id for part in parts] == list(range(1, len(parts) + 1))
        judged_by = [part.model_id == candidate for part in parts]
        assert judged_by == sorted(judged_by)
        assert balance(session).balanced


def test_kill_9_leaves_no_part_without_a_word(copied_home: Path) -> None:
    with station(copied_home, STATIONS / "virtual.toml") as process:
        wait_for_parts(copied_home, DEMO_PARTS + 2)
        process.kill()
        process.wait(timeout=10)
    done = partgate("run", STATIONS / "virtual.toml", "--parts", "2", "--json", home=copied_home)
    result = last_json(done)
    assert result["balanced"] is True
    assert result["open"] == 0
    with opened(copied_home) as database, database.read() as session:
        interrupted = session.exec(select(Part).where(Part.verdict == Verdict.UNDECIDED)).all()
        assert all((part.reason or "").startswith("INTERRUPTED") for part in interrupted)
        assert len(interrupted) <= 1 + 64  # the part in work and what was still queued behind it


def test_a_station_runs_once(copied_home: Path) -> None:
    with station(copied_home, STATIONS / "virtual.toml") as process:
        wait_for_parts(copied_home, DEMO_PARTS + 1)
        second = partgate("run", STATIONS / "virtual.toml", "--parts", "1", home=copied_home)
        assert second.returncode == 75
        assert str(process.pid) in second.stderr
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
    assert process.returncode == 0


def test_the_genicam_simulator_collects_and_a_product_is_learned_from_it(
    demo_home: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    shutil.copytree(demo_home / "graphs", home / "graphs")  # exported once for all products
    result = last_json(
        partgate("run", STATIONS / "genicam_simulator.toml", "--parts", "20", "--json", home=home)
    )
    assert (result["parts"], result["triggers"], result["undecided"], result["open"]) == (20, 20, 20, 0)
    learned = last_json(partgate("learn", "widget", "--from-station", "simulator", "--json", home=home))
    assert learned["good_images"] == 20
    assert learned["active"] is True
    own = tmp_path / "simulator.toml"
    own.write_text(
        (STATIONS / "genicam_simulator.toml")
        .read_text()
        .replace("[trigger]", 'product = "widget"\n[trigger]', 1)
    )
    result = last_json(partgate("run", own, "--parts", "5", "--json", home=home))
    assert result["undecided"] == 20
    assert result["accept"] + result["review"] + result["reject"] == 5
