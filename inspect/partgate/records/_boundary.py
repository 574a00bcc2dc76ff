"""The one place where SQLAlchemy's and SQLite's errors become partgate's."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from partgate.records._errors import (
    ConstraintViolated,
    StoreBusy,
    StoreDamaged,
    StoreError,
    StoreForeign,
    StoreUnwritable,
)

# SQLite's primary result codes (the low byte of the extended ones), https://sqlite.org/rescode.html
_KINDS: Mapping[int, tuple[type[StoreError], str]] = {
    3: (StoreUnwritable, "permission denied; give this user the right to write the home"),
    5: (StoreBusy, "another program keeps it locked; end that program or wait"),
    6: (StoreBusy, "it is locked inside this program"),
    8: (StoreUnwritable, "it is read-only; make the home writable"),
    10: (StoreUnwritable, "the disk reports an error; check it before going on"),
    11: (StoreDamaged, "it is damaged; keep the file, and restore a backup"),
    13: (StoreUnwritable, "the disk is full (bytes or inodes); free some space"),
    14: (StoreUnwritable, "it cannot be opened (too many open files, or no permission on the folder)"),
    19: (ConstraintViolated, "a rule of the tables forbids it"),
    26: (StoreForeign, "it is not an SQLite database"),
}
_UNKNOWN = (StoreError, "SQLite refused")


def store_error(error: Exception) -> StoreError:
    """Return partgate's error for one of SQLAlchemy or SQLite; the caller raises it `from error`."""
    if isinstance(error, StoreError):
        return error
    if isinstance(error, PoolTimeout):
        return StoreBusy(f"database: no connection to read with became free ({error})")
    origin = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    code = getattr(origin, "sqlite_errorcode", None)
    kind, meaning = _KINDS.get(code & 0xFF, _UNKNOWN) if isinstance(code, int) else _UNKNOWN
    return kind(f"database: {meaning} [{origin}]")


@contextmanager
def mapped(*foreign: type[Exception]) -> Iterator[None]:
    """Turn SQLAlchemy's errors, and the foreign ones named, into partgate's inside the block."""
    kinds: tuple[type[Exception], ...] = (SQLAlchemyError, *foreign)
    try:
        yield
    except kinds as error:
        raise store_error(error) from error
