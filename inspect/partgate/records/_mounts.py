"""Which file system a path lies on: write-ahead logging needs one of this machine."""

import re
from pathlib import Path

from partgate.records._errors import StoreNotLocal

MOUNTS = Path("/proc/self/mounts")

# WAL keeps its index in shared memory, which two machines do not have: https://sqlite.org/wal.html
NETWORK = frozenset(
    {
        "afs",
        "ceph",
        "cifs",
        "davfs",
        "glusterfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "smb2",
        "smb3",
        "smbfs",
        "sshfs",
    }
)


def file_system(path: Path, mounts: str) -> str | None:
    """Return the type of the file system a path lies on, None where the table does not say.

    Args:
        path: absolute, links resolved; it need not exist.
        mounts: the text of /proc/self/mounts; the last of several mounts on one point counts.
    """
    found: tuple[int, str] | None = None
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) < 3:  # noqa: PLR2004 - device, mount point, type
            continue
        point = Path(_unescaped(fields[1]))
        if path.is_relative_to(point) and (found is None or len(point.parts) >= found[0]):
            found = (len(point.parts), fields[2])
    return found[1] if found else None


def file_system_of(path: Path) -> str | None:
    """Return the type of the file system that a path lies on here, None where it is not known."""
    return file_system(path.resolve(), _mounts())


def refuse_network_disk(path: Path, mounts: str | None = None) -> None:
    """Refuse a folder on another machine's disk.

    Raises:
        StoreNotLocal: names the file system.
    """
    table = _mounts() if mounts is None else mounts
    kind = file_system(path.resolve(), table)
    if kind is not None and kind.removeprefix("fuse.") in NETWORK:
        raise StoreNotLocal(f"{path}: WAL needs a local disk; this is {kind}. Choose another --home")


def _mounts() -> str:
    try:
        return MOUNTS.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""  # no such table on this system: nothing is known, so nothing is refused


def _unescaped(field: str) -> str:
    """Turn the table's octal escapes (space, tab, newline, backslash) back."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), field)
