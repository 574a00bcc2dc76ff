"""The disks as the station sees them: what is an alarm, and when it is over."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from disks import GIB, disk_of
from partgate.line._disks import StationDisks
from partgate.line._notify import Notify
from partgate.line._supervision import Supervision
from partgate.records import Home, ImageCounts, Room
from watched_station import FakeStation


@dataclass
class Disks:
    """A disk for the rows and one for images and maps, each with a share free of 1,000 GiB; None: away."""

    rows: float | None = 0.5
    images: float | None = 0.5
    nothing_to_remove: bool = False
    away: set[str] = field(default_factory=set)

    def __call__(self, path: Path) -> Room:
        is_images = path.name in {"images", "maps"}
        if path.name in self.away:
            raise OSError(2, "No such file or directory")
        share = self.images if is_images else self.rows
        return disk_of(1000 * GIB * (share or 0), device=2 if is_images else 1)


def station_disks(disks: Disks, *, makes_room: bool = True) -> StationDisks:
    return StationDisks(
        Home(path=Path("/home")),
        makes_room=makes_room,
        nothing_to_remove=lambda: disks.nothing_to_remove,
        ask=disks,
    )


def alarms(watched: StationDisks) -> list[str]:
    watched.problem()
    return list(watched.alarms)


def test_a_disk_that_is_nearly_full_is_an_alarm_once_nothing_more_may_go() -> None:
    disks = Disks(images=0.095)
    watched = station_disks(disks)
    assert alarms(watched) == []  # room is being made
    disks.nothing_to_remove = True
    assert alarms(watched) == [
        "/home/images: 95.00 GiB of 1000.00 GiB free, and nothing more is removed; free some room"
    ]
    disks.images = 0.105
    assert len(alarms(watched)) == 1  # at its edge it does not come and go
    disks.images = 0.11
    assert alarms(watched) == []
    disks.images = 0.105
    assert alarms(watched) == []


def test_nobody_makes_room_on_the_disk_of_the_rows_or_where_it_was_not_asked_for() -> None:
    (said,) = alarms(station_disks(Disks(rows=0.09)))
    assert said.startswith("/home: 90.00 GiB of 1000.00 GiB free, and nothing more is removed")
    (said,) = alarms(station_disks(Disks(images=0.09), makes_room=False))
    assert said.startswith("/home/images: 90.00 GiB")


@pytest.mark.parametrize(
    ("free", "says"),
    [
        (0.0009, "0.90 GiB of 1000.00 GiB free: images of accepted parts are not kept; free some room"),
        (0.0, "0.00 GiB of 1000.00 GiB free: no images are kept; free some room"),
    ],
)
def test_a_disk_at_its_floor_is_one_alarm_and_parts_go_on(free: float, says: str) -> None:
    disks = Disks(images=free)
    watched = station_disks(disks)
    assert watched.problem() is None
    assert watched.alarms == (f"/home/images: {says}",)


def test_a_disk_that_all_share_is_one_alarm(tmp_path: Path) -> None:
    def ask(path: Path) -> Room:
        return disk_of(90 * GIB)

    watched = StationDisks(Home(path=Path("/home")), makes_room=False, ask=ask)
    (said,) = alarms(watched)
    assert said.startswith("/home: 90.00 GiB")
    shared = StationDisks(Home(path=Path("/home")), makes_room=True, ask=ask)
    assert alarms(shared) == []


def test_too_few_files_are_said_as_files() -> None:
    def ask(path: Path) -> Room:
        return disk_of(500 * GIB, free_files=9_000)

    (said,) = alarms(StationDisks(Home(path=Path("/home")), ask=ask))
    assert said == (
        "/home/images: 9,000 of 10,000,000 files (inodes) free:"
        " images of accepted parts are not kept; free some room"
    )


def test_a_folder_of_images_that_is_away_is_an_alarm_and_a_home_that_is_away_a_problem() -> None:
    disks = Disks(away={"images"})
    watched = station_disks(disks)
    assert watched.problem() is None
    assert watched.alarms == (
        "/home/images: its disk cannot be asked (No such file or directory); images are lost",
    )
    assert list(watched.rooms()) == ["home", "maps"]
    disks.away = {"home"}
    assert watched.problem() == "/home: its disk cannot be asked (No such file or directory)"


def test_an_alarm_is_logged_when_it_begins_and_when_it_is_over() -> None:
    disks = Disks()
    watched = station_disks(disks)
    with capture_logs() as said:
        for share in (0.5, 0.0009, 0.0008, 0.0007, 0.0001, 0.0, 0.5):
            disks.images = share
            watched.problem()
    assert [(entry["event"], entry["log_level"]) for entry in said] == [
        ("disk alarm", "error"),
        ("disk alarm", "error"),  # no images at all
        ("disk alarm is over", "warning"),
    ]


def test_alarms_rooms_and_what_became_of_images_are_on_the_page(tmp_path: Path) -> None:
    disks = Disks(images=0.0)
    station = FakeStation(tmp_path, ask=disks)
    station.recorder.images = ImageCounts(removed=4, removed_bytes=40, no_room=7, lost=1)
    told: list[str] = []
    with Supervision("one", notify=_Told(told.append)) as supervision:
        assert json.loads(supervision.ready()[1])["proofs"] == []
        supervision.watch(station.watched())
        supervision.turned()
        is_ready, page = supervision.ready()
        while not any("ALARM" in sentence for sentence in told):
            supervision._tell_status()
    said = json.loads(page)
    assert is_ready
    assert said["alarms"] == [
        f"{tmp_path / 'images'}: 0.00 GiB of 1000.00 GiB free: no images are kept; free some room"
    ]
    assert said["disks"]["images"] == {
        "free_bytes": 0, "total_bytes": 1000 * GIB, "free_files": 10_000_000,
    }  # fmt: skip
    assert said["disks"]["home"]["free_bytes"] == 500 * GIB
    assert said["images"] == {"removed": 4, "removed_bytes": 40, "no_room": 7, "lost": 1}


class _Told(Notify):
    """Tells a test instead of systemd."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        super().__init__(None)
        self._tell_test = tell

    def status(self, sentence: str) -> None:
        self._tell_test(sentence)
