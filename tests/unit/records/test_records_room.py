"""For whose images there is room: floors in bytes and in files, and what is left for rows."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from disks import GIB, IMAGES_DISK, ROWS_DISK, disk_of
from partgate.records import Home, ImageRoom, Keeping, Room, room_of, rooms_of
from partgate.records._room import ROWS_AGAIN_BYTES


@dataclass
class Disks:
    """What a test says of the disks of a home."""

    images: Room
    home: Room = field(default_factory=lambda: disk_of(500 * GIB))
    maps: Room | None = None

    def __call__(self, path: Path) -> Room:
        return {"images": self.images, "maps": self.maps or self.images}.get(path.name, self.home)


def images_disk(free_bytes: float, **more: int) -> Room:
    return disk_of(free_bytes, device=IMAGES_DISK, **more)


@pytest.fixture
def place(tmp_path: Path) -> Home:
    return Home(path=tmp_path)


def test_images_of_accepted_parts_go_first_and_come_back_with_a_distance(place: Home) -> None:
    disks = Disks(images_disk(GIB))
    room = ImageRoom(place, ask=disks)
    assert room.look() is Keeping.ALL
    for free, kept in (
        (GIB - 1, Keeping.FLAGGED),
        (GIB, Keeping.FLAGGED),  # at its edge it does not come and go
        (GIB // 2 - 1, Keeping.NONE),
        (GIB // 2, Keeping.NONE),
        (0.57 * GIB, Keeping.FLAGGED),
        (1.13 * GIB, Keeping.ALL),
        (GIB, Keeping.ALL),
        (0, Keeping.NONE),
        (500 * GIB, Keeping.ALL),
    ):
        disks.images = images_disk(free)
        assert room.look() is kept, free


def test_the_floor_of_a_small_disk_is_a_share_of_it(place: Home) -> None:
    small = 10 * GIB
    disks = Disks(images_disk(0.021 * small, total_bytes=small))
    room = ImageRoom(place, ask=disks)
    assert room.look() is Keeping.ALL
    disks.images = images_disk(0.019 * small, total_bytes=small)
    assert room.look() is Keeping.FLAGGED
    assert room.left == f"{place.images_path}: 0.19 GiB of 10.00 GiB free"


def test_images_on_the_disk_of_the_rows_leave_them_the_last_of_it(place: Home) -> None:
    for free, kept in (
        (ROWS_AGAIN_BYTES + GIB, Keeping.ALL),
        (ROWS_AGAIN_BYTES + GIB - 1, Keeping.FLAGGED),
        (ROWS_AGAIN_BYTES + GIB // 2 - 1, Keeping.NONE),
    ):
        shared = disk_of(free, device=ROWS_DISK)
        assert ImageRoom(place, ask=lambda path, disk=shared: disk).look() is kept  # type: ignore[misc]


def test_files_may_be_scarcer_than_bytes(place: Home) -> None:
    disks = Disks(images_disk(500 * GIB, free_files=9_999))
    room = ImageRoom(place, ask=disks)
    assert room.look() is Keeping.FLAGGED
    assert room.left == f"{place.images_path}: 9,999 of 10,000,000 files (inodes) free"
    disks.images = images_disk(500 * GIB, free_files=4_999)
    assert room.look() is Keeping.NONE
    # A file system without a fixed number of them has none that could be scarce.
    disks.images = images_disk(500 * GIB, free_files=0, total_files=0)
    assert room.look() is Keeping.ALL
    assert disks.images.share_free == 0.5


def test_plenty_of_files_is_not_worth_a_word() -> None:
    assert disk_of(900 * GIB, free_files=2_500_000).left == "900.00 GiB of 1000.00 GiB free"


def test_the_fuller_of_two_disks_decides(place: Home) -> None:
    disks = Disks(images_disk(500 * GIB), maps=disk_of(GIB // 3, device=7))
    room = ImageRoom(place, ask=disks)
    assert room.look() is Keeping.NONE
    assert room.left.startswith(f"{place.maps_path}: ")


def test_a_disk_that_cannot_be_asked_changes_nothing(place: Home) -> None:
    disks = Disks(images_disk(GIB - 1))
    room = ImageRoom(place, ask=lambda path: disks(path) if disks.home.free_bytes else room_of(path / "gone"))
    assert room.look() is Keeping.FLAGGED
    disks.home = disk_of(0)
    assert room.look() is Keeping.FLAGGED


def test_the_disks_of_this_machine(home: Home) -> None:
    rooms = rooms_of(home)
    assert list(rooms) == ["home", "images", "maps"]
    assert 0 <= rooms["images"].share_free <= 1
    assert rooms["home"].total_bytes >= rooms["home"].usable_bytes >= rooms["home"].free_bytes > 0
    home.maps_path.rmdir()
    assert list(rooms_of(home)) == ["home", "images"]


def test_a_folder_that_is_a_link_lies_where_it_points_to(home: Home, tmp_path: Path) -> None:
    home.images_path.rmdir()
    home.images_path.symlink_to("/dev/shm")
    assert room_of(home.images_path).device == Path("/dev/shm").stat().st_dev
    home.images_path.unlink()
