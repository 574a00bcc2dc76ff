"""Errors of the review site.

PartgateError
|-- CannotListen (Unavailable)     the address or port cannot be had
|-- PasswordRefused (DataError)    a password or a name that may not be used
`-- SiteBusy (Unavailable)         too many costly requests at once; come back in a moment
"""

from partgate_station import DataError, Unavailable


class CannotListen(Unavailable):
    """The site cannot listen where it was told to."""


class PasswordRefused(DataError):
    """A name or a password that a person chose may not be used; its text says why."""


class SiteBusy(Unavailable):
    """All slots for costly work stayed taken until the deadline."""
