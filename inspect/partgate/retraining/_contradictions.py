"""Images that are said to be good and defective at once: a defect learned as good is never seen again."""

import shlex
from collections.abc import Mapping, Sequence

from sqlmodel import Session

from partgate.records import Finding, ImageStore, LearnedImage
from partgate.retraining._reviewed import ReviewedFrame, found_defective
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


def refuse_learned_defects(
    session: Session, product: str, snapshot: Sequence[LearnedImage], reviewed: Sequence[ReviewedFrame]
) -> None:
    """Refuse to go on from a model that holds as good what QA has found defective since.

    It would stay in the memory bank and vouch for its own defect. A part's latest review counts.

    Args:
        session: one that `Database.read` gave.
        product: whose model is in force.
        snapshot: what that was learned from.
        reviewed: the product's frames.

    Raises:
        DataError: names parts and images, and gives the command that takes them out.
    """
    good = [entry for entry in snapshot if entry.finding is Finding.GOOD]
    parts = found_defective(session, {entry.part_id for entry in good if entry.part_id is not None})
    defects = {frame.image_sha256: frame.name for frame in reviewed if frame.finding is Finding.DEFECTIVE}
    images = {
        entry.origin: defects[entry.image_sha256]
        for entry in good
        if entry.part_id is None and entry.image_sha256 in defects
    }
    if not parts and not images:
        return
    named = [f"{name} (part:{part})" for part, name in parts.items()]
    named += [f"{origin} ({name})" for origin, name in images.items()]
    options = [f"--part {part}" for part in parts] + [f"--image {shlex.quote(one)}" for one in images]
    what = "1 part" if len(named) == 1 else f"{len(named)} parts"
    raise DataError(
        f"{what} that the model in force was learned from as good, found defective in review since:"
        f" {', '.join(named[:SHOWN])}{_more(named)}. Take out what is defective first:\n"
        f'  partgate models forget {product} {" ".join(options)} --reason "found defective in review"\n'
        "Then put the model that this makes into force, and retrain"
    )


def _images(count: int) -> str:
    return "1 image is" if count == 1 else f"{count} images are"


def _named(found: Sequence[tuple[str, str]]) -> str:
    """Name images by their first name, and by the second where that says more."""
    shown = ", ".join(
        one if one.endswith(other) else f"{one} (defective: {other})" for one, other in found[:SHOWN]
    )
    return f"{shown}{_more(found)}"


def _more(named: Sequence[object]) -> str:
    return f" and {len(named) - SHOWN} more" if len(named) > SHOWN else ""
