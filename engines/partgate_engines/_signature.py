"""Who made a bundle: an Ed25519 signature over its manifest, which holds the hashes of all else."""

import base64
import binascii
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from partgate_engines._bundle_files import opened, reading
from partgate_engines._errors import BundleRefused, KeyRefused, SignerRefused

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

SIGNATURE = "signature"
_LARGEST = 4096
_SHOWN = 12


class _Signature(BaseModel):
    """What the file `signature` says."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    algorithm: Literal["ed25519"] = "ed25519"
    signer: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
    key: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """The fingerprint of the public key."""

    signature: str
    """Base64, 64 bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKey:
    """A key that signatures are checked with."""

    raw: bytes
    """32 bytes."""

    @classmethod
    def from_pem(cls, pem: bytes, *, source: str) -> Self:
        """Read a public key in PEM (SubjectPublicKeyInfo).

        Args:
            pem: what the file holds.
            source: names the file in an error.

        Raises:
            KeyRefused: it is none, of another algorithm, or a private key.
        """
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
        from cryptography.hazmat.primitives.serialization import load_pem_public_key

        if b"PRIVATE KEY" in pem:
            raise KeyRefused(f"{source}: a private key; give the public one, and keep this one to yourself")
        try:
            key = load_pem_public_key(pem)
        except (ValueError, UnsupportedAlgorithm) as error:
            raise KeyRefused(f"{source}: not a public key in PEM ({error})") from error
        if not isinstance(key, Ed25519PublicKey):
            raise KeyRefused(f"{source}: not an Ed25519 key; bundles are signed with nothing else")
        return cls(raw=key.public_bytes_raw())

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the 32 bytes, 64 hex digits."""
        return hashlib.sha256(self.raw).hexdigest()

    def pem(self) -> bytes:
        """Return the key as a file holds it."""
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        return self._key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Return whether the signature over the message was made with this key's private half."""
        from cryptography.exceptions import InvalidSignature

        try:
            self._key().verify(signature, message)
        except InvalidSignature:
            return False
        return True

    def _key(self) -> "Ed25519PublicKey":
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        return Ed25519PublicKey.from_public_bytes(self.raw)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """Signs bundles. Its seed is a secret and is left out of its text."""

    name: str
    seed: bytes
    """32 bytes: the private key."""

    @classmethod
    def new(cls, *, name: str) -> Self:
        """Make a new key, from the system's randomness."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return cls(name=name, seed=Ed25519PrivateKey.generate().private_bytes_raw())

    @classmethod
    def from_pem(cls, pem: bytes, *, name: str, source: str) -> Self:
        """Read a private key in PEM (PKCS 8, not encrypted).

        Raises:
            KeyRefused: it is none, or of another algorithm.
        """
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        try:
            key = load_pem_private_key(pem, password=None)
        except (TypeError, ValueError, UnsupportedAlgorithm) as error:
            raise KeyRefused(f"{source}: not a signing key in PEM ({error})") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise KeyRefused(f"{source}: not an Ed25519 key; bundles are signed with nothing else")
        return cls(name=name, seed=key.private_bytes_raw())

    def __repr__(self) -> str:
        return f"Signer(name={self.name!r}, key={self.public.fingerprint[:_SHOWN]})"

    @property
    def public(self) -> PublicKey:
        """The half that others may know."""
        return PublicKey(raw=self._key().public_key().public_bytes_raw())

    def pem(self) -> bytes:
        """Return the private key as a file holds it: not encrypted, so the file must be kept."""
        from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

        return self._key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def sign(self, manifest: bytes) -> bytes:
        """Return what the file `signature` holds for a manifest; the same bytes for the same one."""
        signature = base64.b64encode(self._key().sign(manifest)).decode()
        signed = _Signature(signer=self.name, key=self.public.fingerprint, signature=signature)
        return signed.model_dump_json(indent=2).encode() + b"\n"

    def _key(self) -> "Ed25519PrivateKey":
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return Ed25519PrivateKey.from_private_bytes(self.seed)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedSigners:
    """The keys whose bundles may be opened, by the names they are known under here."""

    keys: Mapping[str, PublicKey]

    @classmethod
    def only(cls, signer: Signer) -> Self:
        """Trust one signer and nobody else."""
        return cls(keys={signer.name: signer.public})

    def verify(self, path: Path, manifest: bytes) -> str:
        """Check the signature in a file and return the signer's name, as it is known here.

        What a bundle calls its signer decides nothing: the key does.

        Args:
            path: the file `signature`.
            manifest: the bytes that must be signed.

        Raises:
            SignerRefused: the file is missing, or its key is not trusted.
            BundleRefused: the bytes are not those that were signed, or the file cannot be read.
        """
        signed = _read(path)
        found = [name for name, key in self.keys.items() if key.fingerprint == signed.key]
        if not found:
            raise SignerRefused(self._stranger(path, signed))
        try:
            signature = base64.b64decode(signed.signature, validate=True)
        except binascii.Error as error:
            raise BundleRefused(f"{path}: the signature is not base64 ({error})") from error
        if not self.keys[found[0]].verifies(signature, manifest):
            raise BundleRefused(
                f'{path.with_name("manifest.json")}: changed since signer "{found[0]}" signed it, or the'
                " signature was"
            )
        return found[0]

    def _stranger(self, path: Path, signed: _Signature) -> str:
        known = ", ".join(sorted(self.keys)) or "nobody"
        what = f'signer "{signed.signer}" (key {signed.key[:_SHOWN]}) is not in trusted_signers ({known})'
        if signed.signer in self.keys:
            other = self.keys[signed.signer].fingerprint[:_SHOWN]
            what = f'signer "{signed.signer}" is trusted with key {other}, not with {signed.key[:_SHOWN]}'
        return (
            f"{path}: signature: {what}; if you know who made the bundle, get the public key from there and"
            " run `partgate keys trust FILE`"
        )


def _read(path: Path) -> _Signature:
    with reading(path):
        is_signed = path.is_file()
    if not is_signed:
        raise SignerRefused(
            f"{path.parent}: not signed; a bundle needs the signature of a trusted signer: learn the product"
            " again with this version of partgate"
        )
    with opened(path, largest=_LARGEST) as file:
        raw = file.read()
    try:
        return _Signature.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"]) or "file"
        raise BundleRefused(f"{path}: not a signature: {where}: {first['msg']}") from error
