"""An image of another size or colour among many is named; among a mixture nobody is."""

from dataclasses import replace

import numpy as np

from partgate_cameras import ImageMeasures, measure_image, strays

GREY = measure_image(np.random.default_rng(1).integers(0, 255, (48, 64), dtype=np.uint8))
COLOURED = replace(GREY, colour=20.0)
BETWEEN = replace(GREY, colour=2.0)
SMALL = replace(GREY, width_px=32, height_px=24)


def named(*measures: ImageMeasures) -> dict[int, str]:
    return strays(measures)


def test_one_of_another_size_in_ten_is_a_stray() -> None:
    assert named(*[GREY] * 4, SMALL, *[GREY] * 5) == {4: "the image is 32×24, 9 of 10 are 64×48"}
    assert named(*[GREY] * 10) == {}
    assert named() == {}


def test_of_a_mixture_nobody_knows_which_belong() -> None:
    assert named(*[GREY] * 8, SMALL, SMALL) == {}
    assert named(*[GREY] * 8, COLOURED, COLOURED) == {}
    assert named(GREY) == {}


def test_grey_among_coloured_and_coloured_among_grey_are_strays() -> None:
    assert named(*[COLOURED] * 9, GREY) == {9: "the image is grey, 9 of 10 are in colour"}
    assert named(COLOURED, *[GREY] * 9) == {0: "the image is in colour, 9 of 10 are grey"}
    assert named(*[COLOURED] * 9, BETWEEN) == {}, "a colour camera makes this of a grey part"


def test_who_is_of_another_size_and_colour_is_named_once() -> None:
    (why,) = named(*[COLOURED] * 12, SMALL).values()
    assert why.startswith("the image is 32×24")
