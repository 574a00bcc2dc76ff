"""The root of partgate's errors and the branch for what people write in files.

    PartgateError                 a user, a file, a device or a disk is the cause, never a bug
    |-- ConfigError               exit 78: a station file or recipe cannot be used
    |-- MissingInput              exit 66: a file or folder that was named is not there
    |-- DataError                 exit 65: a file is there and cannot be used
    |-- CannotWrite               exit 73: a folder or file cannot be written
    |-- Unavailable               exit 69: something this needs is not installed or not reachable
    `-- AlreadyRunning            exit 75: another process has it

Cameras, engines and the application add branches of their own below these in their `_errors.py`.
Programming mistakes stay `ValueError` and `TypeError`, outside this tree.
"""

from collections.abc import Sequence
from typing import ClassVar


class PartgateError(Exception):
    """Something a person can mend; its text says what, where, what was allowed and what to do."""

    exit_code: ClassVar[int] = 70


class ConfigError(PartgateError):
    """A station file or a recipe cannot be used; every problem in it is named at once."""

    exit_code = 78

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems: tuple[str, ...] = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(self.problems))


class MissingInput(PartgateError):
    """A file or folder that was named is not there."""

    exit_code = 66


class DataError(PartgateError):
    """A file is there and cannot be used: damaged, of a refused kind, or not what it says."""

    exit_code = 65


class CannotWrite(PartgateError):
    """A file or folder cannot be created or written."""

    exit_code = 73


class Unavailable(PartgateError):
    """A package, a device or a service that this needs is not installed or not reachable."""

    exit_code = 69


class AlreadyRunning(PartgateError):
    """Another process holds what this one asked for."""

    exit_code = 75
