"""Bundles that a person names: by their folder, by the product, or by the model's id."""

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from partgate.cli.models import find_model
from partgate_station import MissingInput, Recipe

if TYPE_CHECKING:
    from partgate_engines import Bundle, TrustedSigners


_MANIFEST = "manifest.json"


def open_named(
    name: str, home: Path, *, unverified: bool, ids: bool = False
) -> "tuple[Bundle, Recipe | None]":
    """Open the bundle that a person names.

    A path is a bundle's folder, and so is a name under which a bundle lies in the current one. Any other
    is looked up in the home: a folder of images that is called like the product does not hide it.

    Args:
        name: a product, a bundle's folder, or the first digits of a model's id.
        home: whose products, models and trusted signers count.
        unverified: ask for no signature, of a folder.
        ids: whether a model's id will do.

    Returns:
        The bundle and, where a product was named, the recipe in force.

    Raises:
        typer.BadParameter: the name is empty, or `unverified` was said of what the home itself holds.
        MissingInput: there is nothing of that name.
        SignerRefused, BundleRefused: as for `open_folder`.
    """
    from partgate.records import Home, Keys
    from partgate_engines import Bundle

    if not name:
        raise typer.BadParameter("the name of the product or bundle is empty")
    if os.sep in name or _is_file(Path(name) / _MANIFEST):
        return open_folder(Path(name), home, unverified=unverified), None
    try:
        model_id, recipe = _registered(name, home, ids=ids)
    except MissingInput as error:
        if _is_file(Path(name)):  # a model in another format, most likely: opening it says what is wrong
            return open_folder(Path(name), home, unverified=unverified), None
        what = f"; the folder {Path(name).absolute()} is no bundle: it has no {_MANIFEST}"
        raise MissingInput(f"{error}{what if _lies_here(name) else ''}") from error
    if unverified:
        raise typer.BadParameter(
            f"--unverified is for a bundle's folder; '{name}' is a model of this home, and its signer must be"
            " trusted"
        )
    opened = Home.open(home, create=False)
    return Bundle.open(opened.bundles_path / model_id, trusted=Keys(opened).trusted()), recipe


def open_folder(folder: Path, home: Path, *, unverified: bool) -> "Bundle":
    """Open a bundle's folder, which may lie anywhere.

    Args:
        folder: of the bundle.
        home: whose trusted signers count; it need not be there, and then nobody is trusted.
        unverified: ask for no signature.

    Raises:
        SignerRefused: nobody trusted signed it; says what to do.
        BundleRefused: it was changed, or is no bundle.
    """
    from partgate_engines import Bundle, SignerRefused

    if unverified:
        return Bundle.open(folder, trusted=None)
    try:
        return Bundle.open(folder, trusted=_trusted(home))
    except SignerRefused as error:
        raise SignerRefused(f"{error}; --unverified takes it all the same") from error


def engines_of(home: Path) -> Path | None:
    """Return where a home keeps compiled graphs; None where there is no home, and nothing is kept."""
    from partgate.records import Home

    try:
        return Home.open(home, create=False).graphs_path
    except MissingInput:
        return None


def _registered(name: str, home: Path, *, ids: bool) -> tuple[str, Recipe | None]:
    """Return the id of the model that a product, or a model's id, names, and the product's recipe."""
    from partgate.records import Database, Home, active

    opened = Home.open(home, create=False)
    with contextlib.closing(Database.open(opened)) as database, database.read() as session:
        found = active(session, name)
        if found is not None:
            return found.model_id, found.recipe
        if ids:
            return find_model(session, name).id, None
    raise MissingInput(
        f"'{name}' is neither a product with an active model in {opened.path} nor a bundle's folder;"
        " `partgate models list` shows the products"
    )


def _is_file(path: Path) -> bool:
    with contextlib.suppress(OSError):  # a product's name may be longer than a file's
        return path.is_file()
    return False


def _lies_here(name: str) -> bool:
    with contextlib.suppress(OSError):
        return Path(name).is_dir()
    return False


def _trusted(home: Path) -> "TrustedSigners":
    from partgate.records import Home, Keys
    from partgate_engines import TrustedSigners

    try:
        return Keys(Home.open(home, create=False)).trusted()
    except MissingInput:
        return TrustedSigners(keys={})
