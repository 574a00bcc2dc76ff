"""Bundles that a person names by their folder."""

from pathlib import Path
from typing import TYPE_CHECKING

from partgate_station import MissingInput

if TYPE_CHECKING:
    from partgate_engines import Bundle, TrustedSigners


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


def _trusted(home: Path) -> "TrustedSigners":
    from partgate.records import Home, Keys
    from partgate_engines import TrustedSigners

    try:
        return Keys(Home.open(home, create=False)).trusted()
    except MissingInput:
        return TrustedSigners(keys={})
