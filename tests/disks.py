"""Disks that are only said to be there, as full as a test wants them."""

from pathlib import Path

from partgate.records import Home, Room

GIB = 1 << 30
ROWS_DISK, IMAGES_DISK = 1, 2
MANY_FILES = 10**7


def disk_of(
    free_bytes: float,
    *,
    device: int = ROWS_DISK,
    total_bytes: int = 1000 * GIB,
    free_files: int = MANY_FILES,
    total_files: int = MANY_FILES,
) -> Room:
    """Return a disk with so much free; as large as most."""
    return Room(
        device=device,
        free_bytes=int(free_bytes),
        usable_bytes=total_bytes,
        total_bytes=total_bytes,
        free_files=free_files,
        total_files=total_files,
    )


class SmallDisk:
    """A disk that a home's images and maps have to themselves; their files take what they hold."""

    def __init__(self, home: Home, total_bytes: int) -> None:
        self._folders, self.total_bytes = (home.images_path, home.maps_path), total_bytes
        self.asked = 0

    @property
    def used_bytes(self) -> int:
        return sum(_bytes_of(file) for folder in self._folders for file in folder.glob("*/*"))

    def __call__(self, path: Path) -> Room:
        """Return the room of the disk that a path lies on."""
        self.asked += 1
        if path not in self._folders:
            return disk_of(500 * GIB)
        free = self.total_bytes - self.used_bytes  # below 0 where a test wants more than there is
        return disk_of(free, device=IMAGES_DISK, total_bytes=self.total_bytes)


def _bytes_of(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:  # removed meanwhile
        return 0


def install_small_disk(home_path: str, total_bytes: int) -> None:
    """Have the recorder of this process believe in a small disk; for a process of its own."""
    from partgate.records import _recorder_child as child

    setattr(child, "room_of", SmallDisk(Home(path=Path(home_path)), total_bytes))  # noqa: B010 - its own name
