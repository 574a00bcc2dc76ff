"""A station whose camera's process is lost while parts come."""

import os
import signal
import statistics
import threading
from pathlib import Path

from sqlmodel import select

from partgate.line import Outcome, Reason, run_station
from partgate.records import Database, Frame, Home, Part
from partgate_station import IntervalTrigger, StationConfig, VirtualCamera

BEFORE, AFTER = 5, 5
DEADLINE_MS = 5000  # of a station without a recipe


def camera_pids() -> list[int]:
    """Return the processes of this program's cameras."""
    tasks = Path("/proc/self/task").iterdir()
    children = {int(pid) for task in tasks for pid in (task / "children").read_text().split()}
    return [
        pid for pid in children if b"partgate_cameras._child" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]


def test_f01_every_part_of_an_outage_has_its_row_at_once_and_none_gets_anothers_frame(tmp_path: Path) -> None:
    stop, outcomes = threading.Event(), list[Outcome]()

    def on_outcome(outcome: Outcome) -> None:
        outcomes.append(outcome)
        if len(outcomes) == BEFORE:
            for pid in camera_pids():
                os.kill(pid, signal.SIGKILL)
        reasons = [code(outcome) for outcome in outcomes]
        back = set(reasons[-AFTER:]) == {Reason.NO_RECIPE}
        if back and len(set(reasons)) > 1:
            stop.set()

    config = StationConfig(
        station_id="faulty",
        trigger=IntervalTrigger(kind="interval", period_s=0.05),
        cameras=(VirtualCamera(kind="virtual", camera_id="top", size_px=64),),
    )
    home = Home.open(tmp_path / "line")
    run = run_station(config, home, stop=stop, on_outcome=on_outcome)

    reasons = [code(outcome) for outcome in outcomes]
    seen = [number for number, reason in enumerate(reasons) if reason == Reason.NO_RECIPE]
    lost = [outcome for outcome in outcomes if code(outcome) != Reason.NO_RECIPE]
    assert lost
    assert {code(outcome) for outcome in lost} == {Reason.CAMERA_FAULT}
    assert statistics.median(outcome.latency_ms for outcome in lost) < DEADLINE_MS / 5  # nobody waited
    assert not any(outcome.gate_open for outcome in outcomes)
    assert run.balance.balanced
    assert run.balance.triggers == run.parts == len(outcomes)
    assert run.balance.undecided == len(outcomes)
    assert frames_by_part(home) == {number + 1: frame for frame, number in enumerate(seen)}


def code(outcome: Outcome) -> str:
    """Return why a part is UNDECIDED."""
    return (outcome.decision.reason or "").partition(":")[0]


def frames_by_part(home: Home) -> dict[int, int]:
    """Return the camera's frame numbers by trigger."""
    database = Database.open(home)
    with database.read() as session:
        statement = select(Part.trigger_id, Frame.frame_id).where(Part.id == Frame.part_id)
        found = dict(session.exec(statement).all())
    database.close()
    return found
