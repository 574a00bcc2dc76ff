"""Disks that fill up (robustness F21 to F23): a real recorder's process, and a small disk for its images."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from sqlmodel import Session, col, select
from structlog.testing import capture_logs

from disks import SmallDisk
from partgate import _recorder_start
from partgate.line._disks import StationDisks
from partgate.records import (
    Audit,
    ClosedPart,
    Database,
    Frame,
    Home,
    ImageCounts,
    ImageState,
    ImageStore,
    OpenPart,
    Part,
    RecordedFrame,
    RecorderProcess,
    balance,
    utc_now,
)
from partgate_station import Verdict

TIMEOUT_S = 20
PARTS, AT_ONCE = 330, 30
EACH_FLAGGED = 10
LATEST = 128


@pytest.fixture
def home(tmp_path: Path) -> Home:
    opened = Home.open(tmp_path / "home")
    Database.open(opened).close()
    return opened


def verdict_of(trigger_id: int) -> Verdict:
    return Verdict.ACCEPT if trigger_id % EACH_FLAGGED else Verdict.REJECT


def inspect(recorder: RecorderProcess, parts: int, *, first: int = 1) -> None:
    """Open and close parts as a line does, each with a picture of 2 kB like no other."""
    for trigger_id in range(first, first + parts):
        part = OpenPart(trigger_id=trigger_id, triggered_at=utc_now())
        recorder.open_part(part).result(TIMEOUT_S)
        image = np.random.default_rng(trigger_id).integers(0, 256, (40, 40), np.uint8)
        frame = RecordedFrame(camera_id="top", frame_id=trigger_id, received_at=utc_now(), image=image)
        recorder.close_part(
            ClosedPart(part_id=part.part_id, verdict=verdict_of(trigger_id), score=1.0, frames=(frame,))
        )


def states(session: Session) -> dict[int, Frame]:
    rows = session.exec(select(Part.trigger_id, Frame).join(Frame, col(Frame.part_id) == col(Part.id)))
    return dict(rows.all())


def balanced(session: Session, parts: int) -> bool:
    found = balance(session)
    flagged = parts // EACH_FLAGGED
    return (found.balanced, found.triggers, found.accept, found.reject) == (
        True, parts, parts - flagged, flagged,
    )  # fmt: skip


def wait_for(recorder: RecorderProcess, most_s: float = 20.0) -> None:
    """Wait until everything is on the disk."""
    deadline = time.monotonic() + most_s
    while recorder.waiting and time.monotonic() < deadline:
        time.sleep(0.01)


@pytest.mark.timeout(180)  # a recorder that is idle by policy gets little beside other tests
def test_f22_images_of_the_oldest_accepted_parts_make_room_and_no_row_is_missing(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = 600_000  # a fifth is to stay free: room for half of the pictures
    install = f"import disks; disks.install_small_disk({str(home.path)!r}, {size})"
    program = _recorder_start.PROGRAM.replace("main(descriptor)", f"{install}; main(descriptor)")
    monkeypatch.setattr(_recorder_start, "PROGRAM", program)
    disk = SmallDisk(home, size)
    with Database.open(home) as database:
        with RecorderProcess(database, station_id="one", keep="all", room_share=0.2) as recorder:
            recorder.wait_ready(TIMEOUT_S)
            for first in range(1, PARTS, AT_ONCE):  # a picture is much of so small a disk
                inspect(recorder, AT_ONCE, first=first)
                wait_for(recorder)
                deadline = time.monotonic() + TIMEOUT_S
                while disk.used_bytes > 0.8 * size and time.monotonic() < deadline:
                    time.sleep(0.01)
        removed = recorder.images.removed
        assert disk.used_bytes <= 0.8 * size
        with database.read() as session:
            assert balanced(session, PARTS)
            frames = states(session)
            trail = session.exec(select(Audit).where(Audit.what == "image.remove")).all()
    assert len(frames) == PARTS
    kept = {trigger_id for trigger_id, frame in frames.items() if frame.image_state is ImageState.KEPT}
    gone = sorted(set(frames) - kept)
    assert 80 < removed <= len(gone) <= removed + AT_ONCE  # what its last words were about is not counted
    assert gone == [n for n in range(1, max(gone) + 1) if n % EACH_FLAGGED]  # the oldest, and none flagged
    assert max(gone) <= PARTS - LATEST
    images = ImageStore(home)
    for trigger_id in kept:
        assert images.get(frames[trigger_id].image_sha256 or "").shape == (40, 40)
    assert len(list(home.path.glob("images/*/*.jxl"))) == len(kept)
    assert sum((row.after or {})["images"] for row in trail) == len(gone)
    assert (trail[-1].after or {})["last_trigger_id"] >= max(gone)


@contextmanager
def tmpfs(path: Path, options: str) -> Iterator[None]:
    """Have a small file system of its own mounted at a folder."""
    if shutil.which("mount") is None:
        pytest.skip("there is no `mount` here")
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)],
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        pytest.skip(f"a file system cannot be mounted here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def counted(recorder: RecorderProcess, missing: int) -> ImageCounts:
    """Return what became of images, once the recorder has said it of all that are missing."""
    deadline = time.monotonic() + TIMEOUT_S
    while (said := recorder.images).no_room + said.lost < missing and time.monotonic() < deadline:
        time.sleep(0.01)
    return recorder.images


@pytest.mark.parametrize(
    ("options", "says"),
    [
        pytest.param("size=400k", "GiB free: no images are kept", id="f22-bytes"),
        pytest.param("size=8m,nr_inodes=360", "files (inodes) free: no images are kept", id="f23-files"),
    ],
)
def test_f22_f23_without_room_rows_go_on_and_images_that_are_missing_are_counted(
    options: str, says: str, home: Home
) -> None:
    watched = StationDisks(home)
    with tmpfs(home.images_path, options), Database.open(home) as database:
        with (
            capture_logs() as said,
            RecorderProcess(database, station_id="one", keep="all") as recorder,
        ):
            recorder.wait_ready(TIMEOUT_S)
            inspect(recorder, PARTS)
            wait_for(recorder)
            assert watched.problem() is None  # the rows' disk has room: the station stays ready
            counts = counted(recorder, PARTS - len(list(home.images_path.glob("*/*.jxl"))))
        (alarm,) = watched.alarms
        assert alarm.startswith(f"{home.images_path}: ")
        assert says in alarm
        with database.read() as session:
            assert balanced(session, PARTS)
            frames = states(session)
        assert len(frames) == PARTS
        found = {state: [n for n in frames if frames[n].image_state is state] for state in ImageState}
        images = ImageStore(home)
        assert all(images.has(frames[n].image_sha256 or "") for n in found[ImageState.KEPT])
    assert (counts.removed, counts.lost) == (0, len(found[ImageState.LOST]))
    assert counts.no_room == len(found[ImageState.NOT_KEPT]) > 50
    assert len([entry for entry in said if entry["event"] == "image lost"]) == counts.lost
