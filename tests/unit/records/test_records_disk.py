"""Which disks and which SQLite are refused, and that every foreign error has a meaning of ours."""

from collections.abc import Iterator
from pathlib import Path

import pysqlite3.dbapi2 as sqlite
import pytest
import sqlalchemy.exc

from partgate.records import SqliteAffected, StoreError, StoreNotLocal, StoreUnwritable
from partgate.records import _boundary as boundary
from partgate.records._mounts import file_system, refuse_network_disk
from partgate.records._sqlite import library, refuse_affected

MOUNTS = """\
/dev/sda1 / ext4 rw,relatime 0 0
server:/export /mnt/plant nfs4 rw 0 0
//server/share /mnt/with\\040space cifs rw 0 0
tmpfs /mnt/plant/fast tmpfs rw 0 0
user@host: /mnt/remote fuse.sshfs rw 0 0
overlay /mnt/twice nfs rw 0 0
/dev/sdb1 /mnt/twice xfs rw 0 0
broken
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        pytest.param("/home/line", "ext4", id="root"),
        pytest.param("/mnt/plant/home", "nfs4", id="nfs"),
        pytest.param("/mnt/plantation", "ext4", id="same-beginning"),
        pytest.param("/mnt/plant/fast/home", "tmpfs", id="mounted-below"),
        pytest.param("/mnt/with space/home", "cifs", id="escaped-space"),
        pytest.param("/mnt/twice", "xfs", id="mounted-over"),
    ],
)
def test_the_file_system_of_a_path(path: str, kind: str) -> None:
    assert file_system(Path(path), MOUNTS) == kind


@pytest.mark.parametrize("path", ["/mnt/plant/home", "/mnt/with space", "/mnt/remote/x"])
def test_a_networks_disk_is_refused(path: str) -> None:
    with pytest.raises(StoreNotLocal, match="WAL needs a local disk; this is") as caught:
        refuse_network_disk(Path(path), MOUNTS)
    assert caught.value.exit_code == 78


def test_a_local_disk_is_taken(tmp_path: Path) -> None:
    refuse_network_disk(Path("/mnt/plant/fast"), MOUNTS)
    refuse_network_disk(tmp_path)
    assert file_system(Path("/x"), "") is None


@pytest.mark.parametrize("version", [(3, 40, 1), (3, 44, 5), (3, 45, 0), (3, 50, 6), (3, 51, 2)])
def test_an_sqlite_with_the_wal_reset_bug_is_refused(version: tuple[int, ...]) -> None:
    with pytest.raises(
        SqliteAffected, match=r"affected by the WAL-reset bug; use ≥3\.51\.3, 3\.50\.7 or 3\.44\.6"
    ):
        refuse_affected(version)


@pytest.mark.parametrize("version", [(3, 44, 6), (3, 50, 7), (3, 51, 3), (3, 53, 4), (4, 0, 0)])
def test_a_mended_sqlite_is_taken(version: tuple[int, ...]) -> None:
    refuse_affected(version)


def test_the_sqlite_in_use_is_a_mended_one() -> None:
    refuse_affected(library().sqlite_version_info)


def _classes(root: type[Exception]) -> Iterator[type[Exception]]:
    yield root
    for child in root.__subclasses__():
        yield from _classes(child)


@pytest.mark.parametrize("kind", sorted(set(_classes(sqlalchemy.exc.SQLAlchemyError)), key=repr))
def test_every_error_of_sqlalchemy_becomes_ours(kind: type[Exception]) -> None:
    error = kind.__new__(kind)
    Exception.__init__(error, "what it said")
    if isinstance(error, sqlalchemy.exc.DBAPIError):
        error.orig = sqlite.OperationalError("what SQLite said")
    if isinstance(error, sqlalchemy.exc.StatementError):
        error.statement, error.params, error.detail = None, None, []
    assert isinstance(boundary.store_error(error), StoreError)


def test_an_extended_code_means_what_its_primary_means() -> None:
    error = sqlite.OperationalError("disk I/O error")
    error.sqlite_errorcode = 10 | (4 << 8)  # SQLITE_IOERR_FSYNC
    assert isinstance(boundary.store_error(error), StoreUnwritable)
    assert boundary.store_error(error).exit_code == 73
