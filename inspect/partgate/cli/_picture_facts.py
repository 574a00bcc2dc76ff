"""What a frame's grey levels say of light and focus."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

GREY_DIMENSIONS = 2
BLACKEST, WHITEST = 0, 255


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureFacts:
    """Grey levels of 0 to 255; a colour frame is turned grey first."""

    darkest: int
    mean: float
    brightest: int
    black_share: float
    """Of the pixels at 0: nothing can be seen in them."""

    saturated_share: float
    """Of the pixels at 255: nothing can be seen in them either."""

    focus: float
    """Variance of the Laplacian: grows with sharpness. To compare only on the same scene and light."""


def picture_facts(image: NDArray[np.uint8]) -> PictureFacts:
    """Measure a frame.

    Args:
        image: (h, w) grey or (h, w, 3) RGB; not modified.

    Source: Pech-Pacheco et al. 2000, "Diatom autofocusing in brightfield microscopy", for the focus.
    """
    import cv2

    grey = image if image.ndim == GREY_DIMENSIONS else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return PictureFacts(
        darkest=int(grey.min()),
        mean=float(grey.mean()),
        brightest=int(grey.max()),
        black_share=float(np.mean(grey == BLACKEST)),
        saturated_share=float(np.mean(grey == WHITEST)),
        focus=float(cv2.Laplacian(np.asarray(grey, np.uint8), cv2.CV_64F).var()),
    )
