"""What can go wrong with the records, below partgate's one tree of errors.

    PartgateError
    |-- StoreError                exit 65: the records or an image cannot be used as they are
    |   |-- StoreDamaged          a file's content is not what was written into it
    |   |-- StoreForeign          the file was made by another program
    |   |-- StoreNewer            a newer partgate wrote it
    |   |-- StoreMissing          exit 66: records that were there are gone
    |   |-- ImageMissing          exit 66: no file for a hash that a row names
    |   |-- StoreNotLocal         exit 78: the home lies on a network's disk
    |   |-- StoreUnwritable       exit 73: full, read-only, or the disk reports errors
    |   |-- StoreBusy             exit 69: another program keeps the database locked
    |   |-- StoreClosed           exit 70: used after its close
    |   |-- ConstraintViolated    a row would break a rule of the tables
    |   |-- PartNotOpen           a part to be closed is not open
    |   |-- RegistryError         a model, recipe or activation that is not there
    |   `-- RecordingFailed       exit 73: parts whose rows could not be closed
    `-- Unavailable
        `-- SqliteAffected        exit 69: the SQLite found here can lose committed rows

`_boundary.py` maps what SQLAlchemy and SQLite raise to these.
"""

from partgate_station import PartgateError, Unavailable


class StoreError(PartgateError):
    """The records or an image cannot be used as they are."""

    exit_code = 65


class StoreDamaged(StoreError):
    """A file's content is not what was written into it."""


class StoreForeign(StoreError):
    """The file at the database's place was made by another program."""


class StoreNewer(StoreError):
    """The database has a schema that only a newer partgate knows."""


class StoreMissing(StoreError):
    """The home has had a database, and it is gone."""

    exit_code = 66


class ImageMissing(StoreError):
    """No file lies in the image store for a hash."""

    exit_code = 66


class StoreNotLocal(StoreError):
    """The home lies on a disk of another machine, where write-ahead logging is not safe."""

    exit_code = 78


class StoreUnwritable(StoreError):
    """The disk is full, read-only or reports errors."""

    exit_code = 73


class StoreBusy(StoreError):
    """Another program kept the database locked, or the writing thread could not keep up."""

    exit_code = 69


class StoreClosed(StoreError):
    """The database or recorder was used after its close."""

    exit_code = 70


class ConstraintViolated(StoreError):
    """A row would break a rule of the tables; nothing of its act was written."""


class PartNotOpen(StoreError):
    """A part to be closed was never opened here, or is closed already."""


class RegistryError(StoreError):
    """A model, recipe or activation that was asked for is not there."""


class RecordingFailed(StoreError):
    """Rows of parts could not be closed; they stay open until the next start declares them."""

    exit_code = 73


class SqliteAffected(Unavailable):
    """The SQLite library found here can lose committed rows."""
