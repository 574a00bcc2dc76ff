"""Nothing is opened that nobody trusted signed, and nothing is parsed before that is known."""

import base64
import hashlib
import json
import shutil
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from partgate_engines import (
    Bundle,
    BundleRefused,
    KeyRefused,
    PublicKey,
    Signer,
    SignerRefused,
    TrustedSigners,
)

FILES = ["bank.safetensors", "golden.safetensors", "graph.onnx", "manifest.json", "signature"]


def rewrite(path: Path, content: bytes) -> None:
    path.unlink()  # the graph may be linked to the folder of graphs
    path.write_bytes(content)


def test_the_signature_is_ed25519_over_the_bytes_of_the_manifest(bundle: Bundle, signer: Signer) -> None:
    said = json.loads((bundle.folder / "signature").read_text())
    assert (said["signer"], said["key"], said["algorithm"]) == (
        "trainer-1", signer.public.fingerprint, "ed25519",
    )  # fmt: skip
    assert said["key"] == hashlib.sha256(signer.public.raw).hexdigest()
    key = Ed25519PublicKey.from_public_bytes(signer.public.raw)
    key.verify(base64.b64decode(said["signature"]), (bundle.folder / "manifest.json").read_bytes())


def test_a_signer_is_named_as_it_is_known_here(bundle: Bundle, signer: Signer) -> None:
    known = TrustedSigners(keys={"the-lab": signer.public})
    assert Bundle.open(bundle.folder, trusted=known).signer == "the-lab"
    assert Bundle.open(bundle.folder, trusted=None).signer is None


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("where", [0.0, 0.5, 0.99])
def test_one_flipped_bit_of_any_file_is_refused(
    name: str, where: float, bundle: Bundle, trusted: TrustedSigners
) -> None:
    path = bundle.folder / name
    raw = bytearray(path.read_bytes())
    raw[int(where * (len(raw) - 1))] ^= 1
    rewrite(path, bytes(raw))
    with pytest.raises(BundleRefused) as refused:
        Bundle.open(bundle.folder, trusted=trusted)
    assert refused.value.exit_code == 65
    named = "manifest.json" if name == "signature" else name
    assert named in str(refused.value) or name in str(refused.value)


def test_a_manifest_nobody_signed_is_not_parsed(bundle: Bundle, trusted: TrustedSigners) -> None:
    (bundle.folder / "manifest.json").write_bytes(b"{ this is no JSON")
    with pytest.raises(BundleRefused, match="changed since signer"):
        Bundle.open(bundle.folder, trusted=trusted)


def test_a_bundle_made_anew_around_a_changed_file_is_refused(
    bundle: Bundle, trusted: TrustedSigners, tmp_path: Path
) -> None:
    """Hashes alone can be mended by whoever changed the file."""
    forged = Path(shutil.copytree(bundle.folder, tmp_path / "forged"))
    manifest = json.loads((forged / "manifest.json").read_text())
    manifest["calibration"]["thresholds"] = {"review": 1e6, "reject": 2e6}
    (forged / "manifest.json").write_text(json.dumps(manifest))
    assert Bundle.open(forged, trusted=None).manifest.calibration.thresholds.review == 1e6
    with pytest.raises(BundleRefused, match="changed since signer"):
        Bundle.open(forged, trusted=trusted)


def test_an_unknown_signer_is_named_with_what_to_do(bundle: Bundle, trusted: TrustedSigners) -> None:
    stranger = Signer.new(name="trainer-3")
    (bundle.folder / "signature").write_bytes(stranger.sign((bundle.folder / "manifest.json").read_bytes()))
    with pytest.raises(SignerRefused) as refused:
        Bundle.open(bundle.folder, trusted=trusted)
    assert 'signature: signer "trainer-3"' in str(refused.value)
    assert "is not in trusted_signers (trainer-1)" in str(refused.value)
    assert "partgate keys trust FILE" in str(refused.value)
    assert refused.value.exit_code == 65


def test_a_trusted_name_with_another_key_is_refused(bundle: Bundle, trusted: TrustedSigners) -> None:
    impostor = Signer.new(name="trainer-1")
    (bundle.folder / "signature").write_bytes(impostor.sign((bundle.folder / "manifest.json").read_bytes()))
    with pytest.raises(SignerRefused, match=r'"trainer-1" is trusted with key \w{12}, not with'):
        Bundle.open(bundle.folder, trusted=trusted)


def test_a_trusted_fingerprint_over_a_strangers_signature_is_refused(
    bundle: Bundle, signer: Signer, trusted: TrustedSigners
) -> None:
    manifest = (bundle.folder / "manifest.json").read_bytes()
    said = json.loads(Signer.new(name="trainer-1").sign(manifest))
    said["key"] = signer.public.fingerprint
    (bundle.folder / "signature").write_text(json.dumps(said))
    with pytest.raises(BundleRefused, match="changed since signer"):
        Bundle.open(bundle.folder, trusted=trusted)


def test_a_signature_of_something_else_is_refused(
    bundle: Bundle, signer: Signer, trusted: TrustedSigners
) -> None:
    (bundle.folder / "signature").write_bytes(signer.sign(b"another manifest"))
    with pytest.raises(BundleRefused, match=r"manifest\.json: changed since"):
        Bundle.open(bundle.folder, trusted=trusted)


def test_when_nobody_is_trusted_nothing_is_opened(bundle: Bundle) -> None:
    with pytest.raises(SignerRefused, match=r"not in trusted_signers \(nobody\)"):
        Bundle.open(bundle.folder, trusted=TrustedSigners(keys={}))


def test_an_unsigned_bundle_is_refused_unless_no_signature_is_asked_for(
    bundle: Bundle, trusted: TrustedSigners
) -> None:
    (bundle.folder / "signature").unlink()
    with pytest.raises(SignerRefused, match="not signed"):
        Bundle.open(bundle.folder, trusted=trusted)
    assert Bundle.open(bundle.folder, trusted=None).id == bundle.id


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"{}", id="nothing-said"),
        pytest.param(b"[1, 2]", id="a-list"),
        pytest.param(b"\xff\xfe\x00", id="not-text"),
        pytest.param(b" " * 5000, id="too-long"),
        pytest.param(b'{"signer": "../x", "key": "' + b"0" * 64 + b'", "signature": ""}', id="odd-name"),
        pytest.param(b'{"signer": "a", "key": "' + b"0" * 64 + b'", "signature": "", "more": 1}', id="more"),
    ],
)
def test_a_signature_that_is_none_is_refused(content: bytes, bundle: Bundle, trusted: TrustedSigners) -> None:
    (bundle.folder / "signature").write_bytes(content)
    with pytest.raises(BundleRefused, match=r"not a signature|signature has at most 4096"):
        Bundle.open(bundle.folder, trusted=trusted)


@pytest.mark.parametrize("signature", ["!!!", "", "AAAA", base64.b64encode(bytes(64)).decode()])
def test_a_signature_of_the_wrong_form_is_refused(
    signature: str, bundle: Bundle, signer: Signer, trusted: TrustedSigners
) -> None:
    said = {"signer": "trainer-1", "key": signer.public.fingerprint, "signature": signature}
    (bundle.folder / "signature").write_text(json.dumps(said))
    with pytest.raises(BundleRefused):
        Bundle.open(bundle.folder, trusted=trusted)


def test_keys_come_back_from_their_files() -> None:
    signer = Signer.new(name="a")
    again = Signer.from_pem(signer.pem(), name="a", source="signing.pem")
    assert again == signer
    assert PublicKey.from_pem(signer.public.pem(), source="a.pub") == signer.public


def _rsa_public() -> bytes:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize(
    ("pem", "says"),
    [
        pytest.param(b"hello", "not a public key", id="text"),
        pytest.param(b"", "not a public key", id="empty"),
        pytest.param(Signer.new(name="a").pem(), "a private key", id="private"),
        pytest.param(_rsa_public(), "not an Ed25519 key", id="rsa"),
    ],
)
def test_what_is_no_public_key_is_refused(pem: bytes, says: str) -> None:
    with pytest.raises(KeyRefused, match=f"x.pub: {says}"):
        PublicKey.from_pem(pem, source="x.pub")


def test_what_is_no_signing_key_is_refused() -> None:
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(KeyRefused, match="not an Ed25519 key"):
        Signer.from_pem(pem, name="a", source="signing.pem")
    with pytest.raises(KeyRefused, match="not a signing key"):
        Signer.from_pem(b"hello", name="a", source="signing.pem")


def test_a_signers_text_does_not_tell_its_key() -> None:
    signer = Signer.new(name="a")
    assert signer.seed.hex() not in repr(signer)
    assert repr(signer.seed) not in repr(signer)
