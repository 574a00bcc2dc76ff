"""Which defective images say where their defect is: masks, files with the names of the images."""

from collections.abc import Sequence
from pathlib import Path, PurePath

import numpy as np

from partgate.retraining._images import refusal
from partgate_cameras import ImageError, list_images, read_image
from partgate_engines import ImagesRefused
from partgate_engines.anomaly import DefectImage, GoodImage
from partgate_station import DataError, MissingInput

_ENDING = "_mask"  # of a mask's name, as some data sets have it


def marked_defects(defective: Sequence[GoodImage], masks: Path) -> tuple[DefectImage, ...]:
    """Return the defective images that have a mask.

    Args:
        defective: as `read_images` returns those of a folder.
        masks: a folder with an image for some of them, of the same size and name, in the same sub-folder
            if there are any; the ending of the name may differ, and `_mask` may stand before it. What is
            not black in it is defective.

    Raises:
        MissingInput: there is no such folder.
        DataError: a mask cannot be used, or none has the name of a defective image.
    """
    if not masks.is_dir():
        raise MissingInput(f"{masks.absolute()}: no such folder")
    found = {_name(path.relative_to(masks)): path for path in list_images(masks)}
    marked: list[DefectImage] = []
    bad: list[str] = []
    for image in defective:
        path = found.get(_name(PurePath(*PurePath(image.origin).parts[1:])))
        if path is None:
            continue
        try:
            marked.append(_marked(image, path))
        except (ImageError, ImagesRefused) as error:
            bad.append(str(error))
    if bad:
        raise DataError(refusal(bad, of=len(found)))
    if not marked:
        raise DataError(
            f"{masks}: none of {len(found)} masks has the name of one of {len(defective)} defective images;"
            " crack/1.png is the mask of crack/1.jpg"
        )
    return tuple(marked)


def _name(path: PurePath) -> str:
    return str(path.with_suffix("")).removesuffix(_ENDING)


def _marked(image: GoodImage, path: Path) -> DefectImage:
    pixels = read_image(path)
    mask = pixels if pixels.ndim == 2 else pixels.max(axis=2)  # noqa: PLR2004 - rows and columns
    return DefectImage(pixels=image.pixels, mask=np.asarray(mask > 0), origin=image.origin)
