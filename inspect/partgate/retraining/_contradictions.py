"""Images that are said to be good and defective at once: a defect learned as good is never seen again."""

from collections.abc import Mapping, Sequence

from partgate.records import ImageStore
from partgate_engines.anomaly import GoodImage, Progress, fingerprint
from partgate_station import DataError

SHOWN = 20
_STEP = "comparing with the defective images"


def refuse_both(good: Sequence[GoodImage], defective: Sequence[GoodImage], progress: Progress) -> None:
    """Refuse to learn where an image is given as good and as defective, under whatever names.

    Folders are searched with their sub-folders, so `--good images --defects images/defective` gives every
    defective image as a good one too.

    Args:
        good: decoded as they are asked for, once.
        defective: likewise.
        progress: told of each good image.

    Raises:
        DataError: names the images.
    """
    known = {fingerprint(image.pixels): image.origin for image in defective}
    found: list[tuple[str, str]] = []
    for number in range(len(good)) if known else ():
        image = good[number]
        if (twin := known.get(fingerprint(image.pixels))) is not None:
            found.append((image.origin, twin))
        progress(_STEP, number + 1, len(good))
    if found:
        raise DataError(
            f"{_images(len(found))} given as good and as defective: {_named(found)}. Nothing was learned:"
            " folders are searched with their sub-folders, so keep good and defective images in folders"
            " beside each other, and each image in one of them"
        )


def refuse_known_defects(
    store: ImageStore, given: Sequence[GoodImage], defective: Mapping[str, str], progress: Progress
) -> None:
    """Refuse images that are given as good and that a home knows as defective.

    Args:
        store: tells by what hash an image is kept; nothing is written.
        given: as good; decoded as they are asked for, once.
        defective: where those known to be defective come from, by their hashes in the store.
        progress: told of each.

    Raises:
        DataError: names the images.
    """
    found: list[tuple[str, str]] = []
    for number in range(len(given)) if defective else ():
        image = given[number]
        if (twin := defective.get(store.hash_of(image.pixels))) is not None:
            found.append((image.origin, twin))
        progress(_STEP, number + 1, len(given))
    if found:
        raise DataError(
            f"{_images(len(found))} given as good and known to be defective, from learning or from review:"
            f" {_named(found)}. Nothing was learned: leave them out; if a part of the line is good after all,"
            " say so in `partgate review` first"
        )


def _images(count: int) -> str:
    return "1 image is" if count == 1 else f"{count} images are"


def _named(found: Sequence[tuple[str, str]]) -> str:
    """Name images by their first name, and by the second where that says more."""
    shown = ", ".join(
        one if one.endswith(other) else f"{one} (defective: {other})" for one, other in found[:SHOWN]
    )
    return shown + (f" and {len(found) - SHOWN} more" if len(found) > SHOWN else "")
