"""Where GenTL's and GenApi's exceptions become ours.

Both bindings have one base class each; the table gives the few classes that mean something a
person can act on, the rest keep their own text.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from partgate_cameras._errors import CameraUnavailable

# By class name: importing the bindings loads native libraries, which a station without a GenICam
# camera need not do.
_MEANINGS: Mapping[str, str] = {
    "AccessDeniedException": "is controlled by another program",
    "BusyException": "is busy",
    "ClosedException": "is no longer connected",
    "InvalidHandleException": "is no longer connected",
    "IoException": "does not answer: check cable and power",
    "LoadLibraryException": "needs a producer that cannot be loaded",
    "ResourceInUseException": "is controlled by another program, or opened twice",
    "TimeoutException": "did not answer in time",
}


@contextmanager
def mapped(what: str) -> Iterator[None]:
    """Turn any GenTL or GenApi exception within the block into CameraUnavailable.

    Args:
        what: subject of the message, for instance "camera top".
    """
    from genicam import genapi, gentl

    try:
        yield
    except (gentl.GenericException, genapi.GenericException) as error:
        meaning = _MEANINGS.get(type(error).__name__, "failed")
        raise CameraUnavailable(f"{what} {meaning} ({type(error).__name__}: {error})") from error
