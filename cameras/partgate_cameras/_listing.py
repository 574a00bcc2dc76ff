"""Which files of a folder are images, and in which order they come."""

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from partgate_cameras._formats import ALLOWED, SIGNATURE_BYTES, SUFFIXES, recognise
from partgate_cameras._names import shown
from partgate_station import MissingInput

EXAMPLES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class SkippedFile:
    """An entry of a folder that is not taken for an image."""

    path: Path
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSurvey:
    """What a folder, or one file, holds. Every entry is in one of the two; hidden ones in neither."""

    folder: Path
    images: tuple[Path, ...]
    """In natural order."""

    skipped: tuple[SkippedFile, ...]

    def nothing_found(self) -> str:
        """Return a sentence for a folder without images: what was looked for and what was there."""
        text = f"{shown(self.folder)}: no images ({ALLOWED}) in it or in its sub-folders"
        if self.skipped:
            examples = "; ".join(f"{shown(s.path.name)}: {s.reason}" for s in self.skipped[:EXAMPLES])
            text += f"; skipped {len(self.skipped)}: {examples}"
        return text


def list_images(folder_or_file: Path) -> list[Path]:
    """Return the images of a folder and its sub-folders, or the one file that was named.

    See `survey_images`, which also says what was left out and why.
    """
    return list(survey_images(folder_or_file).images)


def survey_images(folder_or_file: Path) -> ImageSurvey:
    """Look through a folder and its sub-folders for images.

    An image is a regular file with an image's suffix (so that a damaged one is met as an error
    when it is read, not passed over) or with an image's first bytes. Hidden files and folders are
    passed over. Below the folder that was named, links are not followed: they can lead in circles
    or out of the folder. Nothing is opened that is not a regular file: opening a FIFO blocks.

    Args:
        folder_or_file: a file is taken as it is, whatever it holds.

    Returns:
        Paths that begin with `folder_or_file`, in natural order: folder by folder, digits by their
        value ("img2" before "img10"), letters without regard to case.

    Raises:
        MissingInput: there is no such folder or file.
    """
    if not folder_or_file.exists():
        raise MissingInput(f"{shown(folder_or_file)}: no such file or folder")
    if not folder_or_file.is_dir():
        return ImageSurvey(folder=folder_or_file, images=(folder_or_file,), skipped=())
    images: list[Path] = []
    skipped: list[SkippedFile] = []
    for path, reason in _walk(folder_or_file):
        if reason is None:
            images.append(path)
        else:
            skipped.append(SkippedFile(path=path, reason=reason))
    images.sort(key=natural_key)
    skipped.sort(key=lambda entry: natural_key(entry.path))
    return ImageSurvey(folder=folder_or_file, images=tuple(images), skipped=tuple(skipped))


def natural_key(path: Path) -> tuple[object, ...]:
    """Return a sort key that puts "img2" before "img10" and a folder's files together."""
    # A split by (\d+) alternates text and digits, so equal places always compare equal types.
    parts = tuple(
        tuple(
            int(piece) if place % 2 else piece.casefold()
            for place, piece in enumerate(re.split(r"([0-9]+)", part))
        )
        for part in path.parts
    )
    return (parts, path.parts)


def _walk(folder: Path) -> Iterator[tuple[Path, str | None]]:
    """Yield every entry that is not hidden, with the reason why it is no image or None."""
    try:
        with os.scandir(folder) as entries:
            here = [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        yield folder, f"cannot be read ({error.strerror})"
        return
    for entry in here:
        path = folder / entry.name
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(path)
        else:
            yield path, _reason_to_skip(path)


def _reason_to_skip(path: Path) -> str | None:
    try:
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            return "a link, which is not followed"
        if not stat.S_ISREG(mode):
            return "not a regular file"
        if path.suffix.lower() in SUFFIXES:
            return None
        with path.open("rb") as file:
            kind = recognise(file.read(SIGNATURE_BYTES))
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    if kind is None:
        return "not an image"
    return None if kind in SUFFIXES.values() else f"format {kind} not allowed ({ALLOWED})"
