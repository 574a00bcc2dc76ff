"""The keys of a home: one to sign bundles with, and those of the signers that are trusted here."""

import stat
from dataclasses import dataclass
from pathlib import Path

from sqlmodel import Session

from partgate.records import audit
from partgate.records._home import Home
from partgate.records._whole import write_whole, writing
from partgate_engines import KeyRefused, PublicKey, Signer, TrustedSigners
from partgate_station import MissingInput, check_name

SUFFIX = ".pub"
LOCK_TIMEOUT_S = 30.0
_LARGEST_KEY = 16 * 1024
_PRIVATE = 0o600
_NOT_THERE = (FileNotFoundError, NotADirectoryError)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedKey:
    """A signer whose bundles may judge parts in this home."""

    name: str
    key: PublicKey
    path: Path
    is_own: bool
    """Whether this home signs with it."""


class Keys:
    """The folder `keys` of a home.

    `signing.pem` is made when something is signed for the first time, and trusted from then on; its
    public half lies with those of others in `trusted/`, one file per name.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        self._folder = home.keys_path
        self._trusted = self._folder / "trusted"

    def signer(self) -> Signer:
        """Return the home's signer, made now if there is none.

        Raises:
            KeyRefused: the file is damaged, or others may read it.
            CannotWrite: it cannot be made.
        """
        with self._home.lock("keys", timeout_s=LOCK_TIMEOUT_S):
            return self._own() or self._made()

    def trusted(self) -> TrustedSigners:
        """Return the signers whose bundles may be opened.

        Raises:
            KeyRefused: a file in the folder is no public key, or the folder cannot be read.
        """
        return TrustedSigners(keys={found.name: found.key for found in self.known()})

    def known(self) -> list[TrustedKey]:
        """Return the trusted keys, in the order of their names.

        Raises:
            KeyRefused: a file in the folder is no public key, or the folder cannot be read.
        """
        paths = self._public_keys()
        own = self._own() if paths else None
        return [
            TrustedKey(name=path.stem, key=key, path=path, is_own=own is not None and key == own.public)
            for path in paths
            for key in [_public(path)]
        ]

    def trust(self, session: Session, source: Path, *, name: str, by: str) -> TrustedKey:
        """Trust the signer whose public key lies in a file; its bundles may judge parts from then on.

        Args:
            session: one that `Database.write` gave; the act is audited in it.
            source: a public key in PEM.
            name: what the signer is called here.
            by: who decided it.

        Raises:
            MissingInput: there is no such file.
            ConfigError: the name is none.
            KeyRefused: the file is no public key, or name or key are known already.
        """
        check_name(name, what="signer")
        key = _public(source)
        for other in self.known():
            if other.key == key:
                raise KeyRefused(f"{source}: this key is trusted already, as '{other.name}'")
            if other.name == name:
                raise KeyRefused(
                    f"'{name}' is trusted already, with key {other.key.fingerprint[:12]}; choose another"
                    f" --name, or revoke that one first: partgate keys revoke {name}"
                )
        after = {"name": name, "key": key.fingerprint}
        audit.append(session, who=by, what="key.trust", subject=f"key:{name}", after=after)
        path = self._trusted / f"{name}{SUFFIX}"
        write_whole(path, key.pem())
        return TrustedKey(name=name, key=key, path=path, is_own=False)

    def revoke(self, session: Session, name: str, *, by: str, reason: str = "") -> TrustedKey:
        """Trust a signer no longer: none of its bundles is opened from then on, in force or not.

        Revoking the home's own key takes the signing key away as well; the next learning makes one.

        Raises:
            MissingInput: no signer of that name is trusted.
        """
        found = next((other for other in self.known() if other.name == name), None)
        if found is None:
            names = ", ".join(other.name for other in self.known()) or "nobody"
            raise MissingInput(f"'{name}' is not trusted in {self._home.path}; trusted: {names}")
        before = {"name": name, "key": found.key.fingerprint}
        audit.append(session, who=by, what="key.revoke", subject=f"key:{name}", before=before, why=reason)
        with writing(self._folder):
            if found.is_own:
                self._signing.unlink(missing_ok=True)
            found.path.unlink(missing_ok=True)
        return found

    @property
    def _signing(self) -> Path:
        return self._folder / "signing.pem"

    def _public_keys(self) -> list[Path]:
        try:
            return sorted(path for path in self._trusted.iterdir() if path.name.endswith(SUFFIX))
        except _NOT_THERE:
            return []
        except OSError as error:  # else nobody would seem to be trusted
            raise _unreadable(self._trusted, error) from error

    def _own(self) -> Signer | None:
        try:
            mode = stat.S_IMODE(self._signing.stat().st_mode)
        except _NOT_THERE:
            return None
        except OSError as error:
            raise _unreadable(self._signing, error) from error
        if mode & 0o077:
            raise KeyRefused(
                f"{self._signing}: its mode is {mode:04o}, others may read the key; if nobody did, set it"
                f" back: chmod 600 {self._signing}"
            )
        pem = _bytes(self._signing)
        public = Signer.from_pem(pem, name="home", source=str(self._signing)).public
        return Signer.from_pem(pem, name=own_name(public), source=str(self._signing))

    def _made(self) -> Signer:
        fresh = Signer.new(name="home")
        signer = Signer(name=own_name(fresh.public), seed=fresh.seed)
        # Trusted before it can sign: a bundle that its own home refuses is worth nothing.
        write_whole(self._trusted / f"{signer.name}{SUFFIX}", signer.public.pem())
        write_whole(self._signing, signer.pem(), mode=_PRIVATE)
        return signer


def own_name(key: PublicKey) -> str:
    """Return what a home calls its own signer."""
    return f"home-{key.fingerprint[:8]}"


def _public(path: Path) -> PublicKey:
    return PublicKey.from_pem(_bytes(path), source=str(path))


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_LARGEST_KEY)
    except FileNotFoundError:
        raise MissingInput(f"{path.absolute()}: no such file") from None
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> KeyRefused:
    return KeyRefused(f"{path.absolute()}: cannot be read ({error.strerror})")
