"""The photographs that virtual parts are cut from."""

from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from partgate_cameras._stills import read_image
from partgate_station import Unavailable


@cache
def load_texture(name: str) -> NDArray[np.uint8]:
    """Return one of the photographs that lie in scikit-image's wheel.

    The file is read where it lies: importing scikit-image would cost half a second, and its own
    loader may go to the network.

    Args:
        name: "brick", "grass" or "gravel".

    Returns:
        (512, 512) uint8, read-only and shared between callers.

    Raises:
        Unavailable: scikit-image is not installed, or without the file.
    """
    spec = find_spec("skimage")
    if spec is None or spec.origin is None:
        raise Unavailable(
            "a virtual camera cuts its parts from photographs of scikit-image, which is not installed;"
            " install partgate with the extra `demo`: pip install 'partgate[demo]'"
        )
    path = Path(spec.origin).parent / "data" / f"{name}.png"
    if not path.is_file():
        raise Unavailable(
            f"the installed scikit-image has no {path.name}; install partgate's extra `demo` again"
        )
    photograph = read_image(path)
    photograph.flags.writeable = False
    return photograph
