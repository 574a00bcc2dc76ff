"""Good images as if every part lay where the taught reference does."""

from collections.abc import Sequence
from dataclasses import replace
from typing import overload

import numpy as np

from partgate_engines._errors import ImagesRefused, PartNotLocated
from partgate_engines._pose import Locator, Pose, PoseLimits, PoseReference
from partgate_engines.anomaly._images import DefectImage, GoodImage, checked, fingerprint
from partgate_engines.anomaly._settings import Progress

STEP = "places of the parts"
_NAMED = 5
_WIDEST = PoseLimits(shift=0.5, turn_deg=180, scale=0.5)
_SHARE_OF_USUAL = 0.5  # of the good parts' likeness: half as alike is another part, or none


class AlignedImages(Sequence[GoodImage]):
    """Images whose parts are laid over a reference as they are read; what they are known by stays theirs."""

    def __init__(self, images: Sequence[GoodImage], reference: PoseReference) -> None:
        """Align to this reference."""
        self._images, self._locator = images, Locator(reference)

    def __len__(self) -> int:
        return len(self._images)

    @overload
    def __getitem__(self, index: int) -> GoodImage: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[GoodImage]: ...
    def __getitem__(self, index: int | slice) -> GoodImage | Sequence[GoodImage]:
        if isinstance(index, slice):
            return [self[position] for position in range(len(self))[index]]
        image = self._images[index]
        pixels = checked(image)
        pose = _located(self._locator, image)
        return replace(
            image,
            pixels=self._locator.aligned(pixels, pose),
            pixels_sha256=image.pixels_sha256 or fingerprint(image.pixels),
        )


def aligned(images: Sequence[GoodImage], reference: PoseReference | None) -> Sequence[GoodImage]:
    """Return images aligned to a reference; as they are where there is none."""
    return images if reference is None else AlignedImages(images, reference)


def aligned_defects(
    images: Sequence[DefectImage], reference: PoseReference | None
) -> tuple[DefectImage, ...]:
    """Return defective images and their masks aligned to a reference; as they are where there is none.

    Raises:
        ImagesRefused: names the image whose part is not where it may be, or whose defect lies outside.
    """
    if reference is None:
        return tuple(images)
    locator = Locator(reference)
    return tuple(_aligned_defect(locator, image) for image in images)


def _aligned_defect(locator: Locator, image: DefectImage) -> DefectImage:
    given = GoodImage(pixels=image.pixels, origin=image.origin)
    pose = _located(locator, given)
    mask = locator.aligned(np.where(image.mask, 255, 0).astype(np.uint8)[:, :, None], pose)
    half = 128
    return DefectImage(
        pixels=locator.aligned(checked(given), pose),
        mask=mask.reshape(mask.shape[:2]) >= half,
        origin=image.origin,
    )


def not_located(images: Sequence[GoodImage], reference: PoseReference | None) -> dict[int, str]:
    """Return the positions of images whose part is not where it may be, and why; none without a reference.

    Args:
        images: read once, one at a time.
        reference: what parts are aligned to.
    """
    if reference is None:
        return {}
    locator, found = Locator(reference), {}
    for position, image in enumerate(images):
        try:
            locator.locate(checked(image))
        except PartNotLocated as error:
            found[position] = str(error)
    return found


def teach_reference(good: Sequence[GoodImage], limits: PoseLimits, progress: Progress) -> PoseReference:
    """Return the reference that good images are aligned to: the one that lies most in the middle of them.

    Args:
        good: at least one; all of one size; read twice, one at a time.
        limits: how far off a part may lie.
        progress: told of every image.

    Raises:
        ImagesRefused: names the images whose part is not where it may be, and says where it is.
    """
    first = _reference(good[0], good, limits=_near(limits), progress=progress, what="")
    poses = first[1]
    places = np.array([(pose.right_px, pose.down_px, pose.turn_deg, pose.scale) for pose in poses])
    spread = np.maximum(places.std(axis=0), 1e-9)
    middle = int(np.abs((places - np.median(places, axis=0)) / spread).sum(axis=1).argmin())
    reference, found = _reference(good[middle], good, limits=limits, progress=progress, what=", again")
    usual = float(np.median([pose.likeness for pose in found]))
    reference = reference.model_copy(update={"least_likeness": round(_SHARE_OF_USUAL * usual, 4)})
    _refuse(
        good,
        [
            None if pose.likeness >= reference.least_likeness else f"likeness {pose.likeness:.2f} to it alone"
            for pose in found
        ],
        of=good[middle],
    )
    return reference


def _near(limits: PoseLimits) -> PoseLimits:
    """Return twice the limits: two parts may lie off to different sides."""
    return PoseLimits(
        shift=min(2 * limits.shift, _WIDEST.shift),
        turn_deg=min(2 * limits.turn_deg, _WIDEST.turn_deg),
        scale=min(2 * limits.scale, _WIDEST.scale),
    )


def _reference(
    taught: GoodImage, good: Sequence[GoodImage], *, limits: PoseLimits, progress: Progress, what: str
) -> tuple[PoseReference, list[Pose]]:
    """Return an image as the reference, and where the parts of all lie against it."""
    reference = PoseReference.of(checked(taught), limits)
    locator = Locator(reference)
    found: list[Pose | str] = []
    for number, image in enumerate(good):
        try:
            found.append(locator.locate(checked(image)))
        except PartNotLocated as error:
            found.append(str(error))
        progress(STEP + what, number + 1, len(good))
    _refuse(good, [one if isinstance(one, str) else None for one in found], of=taught)
    return reference, [one for one in found if isinstance(one, Pose)]


def _refuse(good: Sequence[GoodImage], problems: Sequence[str | None], *, of: GoodImage) -> None:
    wrong = [f"{image.origin}: {problem}" for image, problem in zip(good, problems, strict=True) if problem]
    if wrong:
        more = f" (and {len(wrong) - _NAMED} more)" if len(wrong) > _NAMED else ""
        raise ImagesRefused(
            f"{len(wrong)} of {len(good)} good images cannot be aligned to {of.origin}:"
            f" {'; '.join(wrong[:_NAMED])}{more}. Leave them out, or allow more (--align-shift, --align-turn,"
            " --align-scale)"
        )


def pose_of(image: GoodImage, reference: PoseReference | None) -> Pose | None:
    """Return where an image's part lies; None without a reference.

    Raises:
        ImagesRefused: names the image whose part is not where it may be.
    """
    return None if reference is None else _located(Locator(reference), image)


def _located(locator: Locator, image: GoodImage) -> Pose:
    try:
        return locator.locate(checked(image))
    except PartNotLocated as error:
        raise ImagesRefused(f"{image.origin}: {error}") from error
