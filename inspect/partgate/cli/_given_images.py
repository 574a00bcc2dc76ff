"""Images of a folder that somebody gives to be learned from."""

from pathlib import Path
from typing import TYPE_CHECKING

from partgate.cli._output import err

if TYPE_CHECKING:
    from collections.abc import Sequence

    from partgate_engines.anomaly import GoodImage, Progress


def given_images(
    source: Path, *, skip_bad: bool, of_one_kind: bool = False, progress: "Progress"
) -> "Sequence[GoodImage]":
    """Return the images of a folder or file, decoded as they are asked for; say which are left out.

    Args:
        source: the folder or file.
        skip_bad: leaves out what cannot be used.
        of_one_kind: images of another size or colour than nine in ten of them cannot be used either.
        progress: told of each.

    Raises:
        MissingInput: there is no such folder or file.
        DataError: there is no image in it, or some cannot be used and are not to be left out.
    """
    from partgate.retraining import read_images

    read = read_images(source, skip_bad=skip_bad, of_one_kind=of_one_kind, progress=progress)
    for sentence in read.skipped:
        err.print(f"left out: {sentence}", markup=False)
    return read.images
