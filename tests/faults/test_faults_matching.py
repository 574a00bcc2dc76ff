"""Rows F01, F07, F08 and F11: whatever befalls frames and triggers, no part is judged by another's frame.

Every frame shows the number of the part that it was taken of, every trigger carries it as serial number.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlmodel import select

from edge_cameras import SOON_S, EdgeCamera, EdgeInput
from partgate.line._camera_trigger import CameraTriggers
from partgate.line._digital_input import DigitalInput
from partgate.line._finders import FrameFinder
from partgate.line._judge import NoJudge
from partgate.line._line_camera import LineCamera
from partgate.line._loop import Line
from partgate.line._matching import Window
from partgate.line._outputs import NoOutput
from partgate.line._taking import PARTS_IN_WORK
from partgate.line._triggers import TriggerSource
from partgate.records import (
    Balance,
    Database,
    Frame,
    Home,
    ImageStore,
    OrphanFrame,
    OrphanRecorder,
    Part,
    RecordedOrphan,
    Recorder,
    balance,
    count_orphans,
)
from partgate_cameras import FrameIncomplete, StrayFrame

pytestmark = pytest.mark.real_time(bears_s=0.015)

PERIOD_S = 0.06
WINDOW = Window(earliest_s=0.01, latest_s=0.04)
PARTS = 8
USUAL_S = 0.02


@dataclass
class Ledger:
    """What a run left behind."""

    balance: Balance
    parts: list[Part]
    shown: dict[int, dict[str, int]]
    """Per trigger and camera: the part that the frame shows."""
    orphans: list[OrphanFrame]
    orphan_shows: list[int | None]

    @property
    def codes(self) -> list[str]:
        """Return why each part is UNDECIDED; "seen" where it has its frames and only a recipe is missing."""
        return [
            "seen" if (part.reason or "").startswith("NO_RECIPE") else (part.reason or "").partition(":")[0]
            for part in self.parts
        ]

    def check(self) -> None:
        """Nobody has another's frame, every trigger has its row, and those with frames have all of them."""
        assert self.balance.balanced
        assert [part.trigger_id for part in self.parts] == list(range(1, len(self.parts) + 1))
        for part in self.parts:
            shown = self.shown.get(part.trigger_id, {})
            assert set(shown.values()) <= {int(part.serial_number or -1)}, f"another's frame: {part}, {shown}"


def run(
    tmp_path: Path,
    script: Callable[[float], tuple[TriggerSource, Sequence[FrameFinder]]],
    *,
    parts: int | None = PARTS,
    stop_after: int | None = None,
) -> Ledger:
    """Run a line by a script, which is given the moment of the first part."""
    home = Home.open(tmp_path / "line")
    images, stop = ImageStore(home), threading.Event()
    with contextlib.ExitStack() as stack:
        database = stack.enter_context(contextlib.closing(Database.open(home)))
        orphans = OrphanRecorder(database, images, station_id="one")
        with (
            contextlib.closing(orphans),
            Recorder(database, images, station_id="one", keep="all") as recorder,
        ):
            triggers, finders = script(time.monotonic() + SOON_S)
            line = Line(
                cameras=finders,
                triggers=triggers,
                judges=NoJudge(),
                recorder=recorder,
                output=NoOutput(),
                product=None,
                on_stray=lambda stray: orphans.record(recorded(stray)),
            )
            try:
                line.run(
                    stop,
                    parts=parts,
                    on_outcome=lambda outcome: stop.set() if outcome.trigger_id == stop_after else None,
                )
                line._taking.between_parts()
            finally:
                if isinstance(triggers, DigitalInput):
                    triggers.close()
        return read(database, images)


def recorded(stray: StrayFrame) -> RecordedOrphan:
    return RecordedOrphan(
        camera_id=stray.camera_id,
        frame_id=stray.frame_id,
        camera_timestamp_ns=stray.camera_timestamp_ns,
        received_at=stray.received_at,
        reason=stray.why,
        image=stray.image,
    )


def read(database: Database, images: ImageStore) -> Ledger:
    with database.read() as session:
        rows = list(session.exec(select(Part).order_by(Part.trigger_id)))  # type: ignore[arg-type]
        trigger_of = {row.id: row.trigger_id for row in rows}
        shown: dict[int, dict[str, int]] = {}
        for frame in session.exec(select(Frame)):
            number = int(images.get(frame.image_sha256 or "")[0, 0])
            shown.setdefault(trigger_of[frame.part_id], {})[frame.camera_id] = number
        orphans = list(session.exec(select(OrphanFrame)))
        shows = [int(images.get(o.image_sha256)[0, 0]) if o.image_sha256 else None for o in orphans]
        assert count_orphans(session, "one") == count_orphans(session) == len(orphans)
        assert count_orphans(session, "another") == 0
        result = balance(session)
        session.expunge_all()
    return Ledger(result, rows, shown, orphans, shows)


def digital(first_s: float, parts: int = PARTS) -> DigitalInput:
    device = EdgeInput.regular(first_s, PERIOD_S, parts)
    return DigitalInput(device, debounce_s=0.0, waiting_parts=64)


Expose = Callable[[EdgeCamera, int, float], None]


def as_usual(camera: EdgeCamera, part: int, at_s: float) -> None:
    camera.expose(part, at_s, USUAL_S)


def run_one(tmp_path: Path, expose: Expose, *, parts: int = PARTS) -> tuple[Ledger, EdgeCamera]:
    """Run a digital input and one camera at the same line; `expose` is what becomes of each part."""
    camera = EdgeCamera()

    def script(first_s: float) -> tuple[TriggerSource, Sequence[FrameFinder]]:
        source = digital(first_s, parts)
        for part in range(parts):
            expose(camera, part, first_s + part * PERIOD_S)
        return source, [LineCamera(camera, WINDOW, source)]

    ledger = run(tmp_path, script, parts=parts)
    ledger.check()
    return ledger, camera


def test_f11_a_frame_that_comes_late_is_an_orphan_and_the_next_part_has_its_own(tmp_path: Path) -> None:
    """The hole that was: part 2's frame, late, was given to part 3, and so on for ever."""

    def expose(camera: EdgeCamera, part: int, at_s: float) -> None:
        camera.expose(part, at_s, PERIOD_S + 0.015 if part == 2 else USUAL_S)  # within part 3's window

    ledger, camera = run_one(tmp_path, expose)
    assert ledger.codes == ["seen"] * 2 + ["CAMERA_TIMEOUT"] + ["seen"] * 5
    assert [orphan.reason.partition(":")[0] for orphan in ledger.orphans] == ["AMBIGUOUS"]
    assert ledger.orphan_shows == [2], "its image is kept"
    assert camera.flushes == 0


def test_f11_a_lost_frame_costs_its_own_part_alone(tmp_path: Path) -> None:
    ledger, _ = run_one(
        tmp_path, lambda camera, part, at_s: camera.expose(part, at_s, USUAL_S, lost=part in {2, 5})
    )
    assert [number for number, code in enumerate(ledger.codes) if code != "seen"] == [2, 5]
    assert set(ledger.codes) == {"seen", "CAMERA_TIMEOUT"}
    assert ledger.orphans == []


def test_f08_a_frame_that_comes_twice_is_an_orphan_the_second_time(tmp_path: Path) -> None:
    ledger, _ = run_one(
        tmp_path, lambda camera, part, at_s: camera.expose(part, at_s, USUAL_S, twice=part == 2)
    )
    assert ledger.codes == ["seen"] * PARTS
    assert [orphan.reason for orphan in ledger.orphans] == ["OUT_OF_ORDER: frame id went 3→3"]


def test_f11_a_trigger_without_a_frame_that_no_gap_explains_ends_in_a_flush(tmp_path: Path) -> None:
    """The camera passed a trigger over, as one does that was still exposing: its count shows nothing."""

    def expose(camera: EdgeCamera, part: int, at_s: float) -> None:
        if part != 2:
            as_usual(camera, part, at_s)

    ledger, camera = run_one(tmp_path, expose, parts=16)
    assert ledger.codes[:2] == ["seen", "seen"]
    assert ledger.codes[2:4] == ["CAMERA_TIMEOUT"] * 2
    assert camera.flushes == 1
    assert ledger.codes[-1] == "seen", "in step again"


def test_f11_a_frame_without_a_trigger_is_an_orphan(tmp_path: Path) -> None:
    camera = EdgeCamera()

    def script(first_s: float) -> tuple[TriggerSource, Sequence[FrameFinder]]:
        source = digital(first_s + 0.2)
        camera.expose(99, first_s)
        for part in range(PARTS):
            as_usual(camera, part, first_s + 0.2 + part * PERIOD_S)
        return source, [LineCamera(camera, WINDOW, source)]

    ledger = run(tmp_path, script)
    ledger.check()
    assert ledger.codes == ["seen"] * PARTS
    assert [orphan.reason for orphan in ledger.orphans] == ["NO_TRIGGER: no trigger was due"]
    assert ledger.orphan_shows == [99]


def test_an_incomplete_frame_was_its_parts_and_nobody_elses(tmp_path: Path) -> None:
    def expose(camera: EdgeCamera, part: int, at_s: float) -> None:
        error = FrameIncomplete("camera top: only a part arrived") if part == 2 else None
        camera.expose(part, at_s, USUAL_S, error=error)

    ledger, _ = run_one(tmp_path, expose)
    assert ledger.codes == ["seen"] * 2 + ["CAMERA_FAULT"] + ["seen"] * 5


def test_f11_two_cameras_of_which_one_lags_by_more_than_a_part(tmp_path: Path) -> None:
    top, side = EdgeCamera(), EdgeCamera("side")

    def script(first_s: float) -> tuple[TriggerSource, Sequence[FrameFinder]]:
        source = digital(first_s)
        for part in range(PARTS):
            as_usual(top, part, first_s + part * PERIOD_S)
            side.expose(part, first_s + part * PERIOD_S, 0.1, lost=part == 3)
        lagging = LineCamera(side, Window(earliest_s=0.08, latest_s=0.13), source)
        return source, [LineCamera(top, WINDOW, source), lagging]

    ledger = run(tmp_path, script)
    ledger.check()
    assert ledger.codes == ["seen"] * 3 + ["CAMERA_TIMEOUT"] + ["seen"] * 4
    complete = {trigger: shown for trigger, shown in ledger.shown.items() if len(shown) == 2}
    assert complete == {n + 1: {"top": n, "side": n} for n in range(PARTS) if n != 3}


def test_f11_a_burst_of_triggers_has_a_row_for_each_and_no_frame_in_anothers_place(tmp_path: Path) -> None:
    camera, burst = EdgeCamera(), 30

    def script(first_s: float) -> tuple[TriggerSource, Sequence[FrameFinder]]:
        for part in range(burst):
            as_usual(camera, part, first_s + part * 0.001)
        device = EdgeInput.regular(first_s, 0.001, burst)
        source = DigitalInput(device, debounce_s=0.0, waiting_parts=4)
        return source, [LineCamera(camera, WINDOW, source)]

    ledger = run(tmp_path, script, parts=burst)
    ledger.check()
    assert ledger.balance.triggers == burst
    assert "TRIGGER_OVERRUN" in ledger.codes
    for number, part in enumerate(ledger.parts):
        assert part.serial_number in {str(number), None}


def test_f01_old_frames_of_a_camera_that_returns_are_given_to_no_part(tmp_path: Path) -> None:
    """It was away while parts 2 and 3 passed, and delivers their frames when it is back."""

    def expose(camera: EdgeCamera, part: int, at_s: float) -> None:
        if part == 2:
            camera.lose(at_s, at_s + 1.9 * PERIOD_S)
        as_usual(camera, part, at_s)

    ledger, _ = run_one(tmp_path, expose, parts=16)
    assert ledger.codes[:2] == ["seen"] * 2
    assert set(ledger.codes[2:4]) <= {"CAMERA_FAULT", "CAMERA_TIMEOUT"}
    assert {2, 3} <= set(ledger.orphan_shows)
    assert ledger.codes[-1] == "seen"


def run_by_camera(tmp_path: Path, expose: Expose, *, parts: int) -> Ledger:
    """Run a camera that is the trigger; a part every 10 ms."""
    camera = EdgeCamera()

    def script(first_s: float) -> tuple[TriggerSource, Sequence[FrameFinder]]:
        for part in range(PARTS):
            expose(camera, part, first_s + part * 0.01)
        source = CameraTriggers(camera, delay_s=0.005)
        return source, [source]

    ledger = run(tmp_path, script, parts=parts)
    assert ledger.balance.balanced
    return ledger


def test_a_camera_as_trigger_has_a_row_for_each_frame_that_was_lost(tmp_path: Path) -> None:
    def expose(camera: EdgeCamera, part: int, at_s: float) -> None:
        error = FrameIncomplete("camera top: only a part arrived") if part == 6 else None
        camera.expose(part, at_s, lost=part in {2, 3}, twice=part == 4, error=error)

    ledger = run_by_camera(tmp_path, expose, parts=PARTS)
    assert ledger.codes == ["seen"] * 2 + ["CAMERA_FAULT"] * 2 + ["seen"] * 2 + ["CAMERA_FAULT", "seen"]
    assert "frame lost" in (ledger.parts[2].reason or "")
    assert ledger.shown == {n + 1: {"top": n} for n in (0, 1, 4, 5, 7)}
    assert [orphan.reason.partition(":")[0] for orphan in ledger.orphans] == ["OUT_OF_ORDER"]


def test_while_the_triggering_camera_is_away_the_ledger_says_so_once(tmp_path: Path) -> None:
    def expose(camera: EdgeCamera, part: int, at_s: float) -> None:
        if part == 3:
            camera.lose(at_s, at_s + 0.3)
        camera.expose(part, at_s)

    ledger = run_by_camera(tmp_path, expose, parts=PARTS + 1)
    assert ledger.codes.count("CAMERA_FAULT") == 1
    assert sum("parts may pass unseen" in (part.reason or "") for part in ledger.parts) == 1
    assert [shown["top"] for _, shown in sorted(ledger.shown.items())] == list(range(PARTS))


def test_a_camera_as_trigger_and_another_matched_to_it(tmp_path: Path) -> None:
    top, side = EdgeCamera(), EdgeCamera("side")

    def script(first_s: float) -> tuple[TriggerSource, Sequence[FrameFinder]]:
        for part in range(PARTS):
            top.expose(part, first_s + part * PERIOD_S)
            side.expose(part, first_s + part * PERIOD_S, 0.01, lost=part == 3)
        source = CameraTriggers(top)
        return source, [source, LineCamera(side, Window(earliest_s=-0.005, latest_s=0.03), source)]

    ledger = run(tmp_path, script)
    assert ledger.balance.balanced
    assert ledger.codes == ["seen"] * 3 + ["CAMERA_TIMEOUT"] + ["seen"] * 4
    for number, code in enumerate(ledger.codes):
        expected = {"top": number, "side": number} if code == "seen" else {"top": number}
        assert ledger.shown[number + 1] == expected


def of_input(first_s: float) -> tuple[TriggerSource, Sequence[FrameFinder]]:
    device = EdgeInput.regular(first_s - 100, 0.001, PARTS)
    source = DigitalInput(device, debounce_s=0.0, waiting_parts=64)
    return source, [LineCamera(EdgeCamera(), WINDOW, source)]


def of_camera(first_s: float) -> tuple[TriggerSource, Sequence[FrameFinder]]:
    camera = EdgeCamera()
    for part in range(PARTS):
        camera.expose(part, first_s - 100 + part)
    source = CameraTriggers(camera)
    return source, [source]


@pytest.mark.parametrize("script", [of_input, of_camera])
def test_f45_triggers_that_wait_when_the_station_stops_are_declared(
    tmp_path: Path, script: Callable[[float], tuple[TriggerSource, Sequence[FrameFinder]]]
) -> None:
    ledger = run(tmp_path, script, parts=None, stop_after=3)
    assert ledger.balance.balanced
    assert ledger.balance.triggers == PARTS
    # Those whose frames had been asked for when it was told to stop are finished.
    finished = ledger.codes.index("STATION_STOPPED")
    assert 3 <= finished < 3 + PARTS_IN_WORK
    assert ledger.codes[finished:] == ["STATION_STOPPED"] * (PARTS - finished)
    kept = [part for part in ledger.orphan_shows if part is not None]
    assert kept == ([] if script is of_input else list(range(finished, PARTS)))


@pytest.mark.parametrize("failing", ["top", "side"])
def test_a_camera_that_fails_does_not_shift_the_other(tmp_path: Path, failing: str) -> None:
    """Every camera gives up its frame of the trigger, also when another has failed already."""
    cameras = [EdgeCamera("top"), EdgeCamera("side")]

    def script(first_s: float) -> tuple[TriggerSource, Sequence[FrameFinder]]:
        for part in range(PARTS):
            for camera in cameras:
                bad = camera.camera_id == failing and part == 2
                error = FrameIncomplete("only a part") if bad else None
                camera.expose(part, first_s + part * PERIOD_S, USUAL_S, error=error)
        source = digital(first_s)
        return source, [LineCamera(camera, WINDOW, source) for camera in cameras]

    ledger = run(tmp_path, script)
    ledger.check()
    assert ledger.codes == ["seen"] * 2 + ["CAMERA_FAULT"] + ["seen"] * 5
    assert len(ledger.shown[3]) == 1
