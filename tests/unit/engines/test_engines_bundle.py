import hashlib
import json
import pickle
import shutil
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from partgate_engines import (
    Bundle,
    BundleMissing,
    BundleNotWritten,
    BundleRefused,
    MemoryBank,
    Signer,
    TrustedSigners,
)
from partgate_engines.anomaly import GoodImage, Learned
from unreadable import unreadable


def plain_copy(bundle: Bundle, folder: Path) -> Path:
    """Copy a bundle to a name that is not its id and files that are its own."""
    shutil.copytree(bundle.folder, folder)
    return folder


def test_a_saved_bundle_opens_and_says_what_was_learned(
    bundle: Bundle, learned: Learned, trusted: TrustedSigners
) -> None:
    opened = Bundle.open(bundle.folder, trusted=trusted)
    assert opened == bundle
    assert opened.folder.name == opened.id
    assert opened.manifest.product == "weave"
    assert opened.manifest.n_good == 30
    assert opened.manifest.good[7].origin == "7.png"
    assert opened.manifest.calibration == learned.calibration
    np.testing.assert_array_equal(opened.bank().rows, learned.bank.rows)
    np.testing.assert_array_equal(opened.bank().origin, learned.bank.origin)
    assert not opened.bank().rows.flags.writeable


def test_saving_twice_gives_the_same_bundle(
    bundle: Bundle, learned: Learned, good: Sequence[GoodImage], signer: Signer
) -> None:
    before = sorted(path.name for path in bundle.folder.parent.iterdir())
    again = learned.save(bundle.folder.parent, product="weave", signer=signer, good=good)
    assert again.id == bundle.id
    assert sorted(path.name for path in bundle.folder.parent.iterdir()) == before == [bundle.id]


def test_another_product_is_another_bundle(bundle: Bundle, learned: Learned) -> None:
    assert learned.save(bundle.folder.parent, product="other").id != bundle.id


FILES = ["graph.onnx", "bank.safetensors", "golden.safetensors", "manifest.json"]


@pytest.mark.parametrize("name", FILES)
def test_one_changed_byte_is_found(name: str, bundle: Bundle, trusted: TrustedSigners) -> None:
    path = bundle.folder / name
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.unlink()  # the graph may be linked to the folder of graphs
    path.write_bytes(raw)
    with pytest.raises(BundleRefused, match=f"{name}: changed"):
        Bundle.open(bundle.folder, trusted=trusted)


def test_a_bank_that_changes_after_opening_is_found(bundle: Bundle) -> None:
    (bundle.folder / "bank.safetensors").write_bytes(b"something else")
    with pytest.raises(BundleRefused, match=r"bank\.safetensors: changed"):
        bundle.bank()


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(name: str, bundle: Bundle) -> None:
    (bundle.folder / name).unlink()
    with pytest.raises(BundleMissing, match=name):
        Bundle.open(bundle.folder, trusted=None)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleMissing, match="nowhere"):
        Bundle.open(tmp_path / "nowhere", trusted=None)


def test_a_file_too_many_is_refused(bundle: Bundle) -> None:
    (bundle.folder / "notes.txt").write_text("hello")
    with pytest.raises(BundleRefused, match=r"notes\.txt: refused"):
        Bundle.open(bundle.folder, trusted=None)


def test_a_link_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    shutil.move(bundle.folder / "graph.onnx", tmp_path / "elsewhere.onnx")
    (bundle.folder / "graph.onnx").symlink_to(tmp_path / "elsewhere.onnx")
    with pytest.raises(BundleRefused, match="not links"):
        Bundle.open(bundle.folder, trusted=None)


@pytest.mark.parametrize("name", ["model.pt", "model.ckpt", "model.PKL", "model.joblib", "model.pth"])
def test_a_pickle_given_as_model_is_refused_by_name(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"no pickle at all")
    with pytest.raises(BundleRefused, match="can run code") as refused:
        Bundle.open(tmp_path / name, trusted=None)
    assert refused.value.exit_code == 65


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, trap: Path) -> None:
        self.trap = trap

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.trap,)


@pytest.mark.parametrize("protocol", range(2, 6))
@pytest.mark.parametrize("name", ["model.onnx", "graph.onnx", "bank.safetensors"])
def test_a_pickle_under_another_name_is_refused_unopened(
    name: str, protocol: int, bundle: Bundle, tmp_path: Path
) -> None:
    trap = tmp_path / "exploded"
    path = bundle.folder / name
    path.unlink(missing_ok=True)
    path.write_bytes(pickle.dumps(Bomb(trap), protocol=protocol))
    with pytest.raises(BundleRefused, match="can run code"):
        Bundle.open(bundle.folder, trusted=None)
    assert not trap.exists()


def test_a_bundle_of_a_later_format_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    folder = plain_copy(bundle, tmp_path / "later")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["format"] = 3
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleRefused, match="format 3; this partgate reads format 2"):
        Bundle.open(folder, trusted=None)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("bank_rows", 7, "the manifest says"),
        ("good", [{"origin": "only one", "pixels_sha256": "0" * 64}], "of 1 images"),
        ("features", 3, "the manifest says"),
    ],
)
def test_a_manifest_that_does_not_fit_its_bank_is_refused(
    field: str, value: object, message: str, bundle: Bundle, tmp_path: Path
) -> None:
    folder = plain_copy(bundle, tmp_path / "forged")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest[field] = value
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleRefused, match=message):
        Bundle.open(folder, trusted=None).bank()


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b'{"format": 2}', b"\xff\xfe"])
def test_a_manifest_that_is_none_is_refused(raw: bytes, bundle: Bundle, tmp_path: Path) -> None:
    folder = plain_copy(bundle, tmp_path / "broken")
    (folder / "manifest.json").write_bytes(raw)
    with pytest.raises(BundleRefused, match=r"manifest\.json"):
        Bundle.open(folder, trusted=None)


@pytest.mark.parametrize("name", [*FILES, "signature"])
def test_a_file_that_may_not_be_read_is_named(name: str, bundle: Bundle, trusted: TrustedSigners) -> None:
    with (
        unreadable(bundle.folder / name),
        pytest.raises(BundleRefused, match=rf"{name}: cannot be read \(Permission denied\)") as refused,
    ):
        Bundle.open(bundle.folder, trusted=trusted)
    assert refused.value.exit_code == 65


def test_a_folder_that_may_not_be_read_is_named(bundle: Bundle, trusted: TrustedSigners) -> None:
    with (
        unreadable(bundle.folder),
        pytest.raises(BundleRefused, match=rf"{bundle.id}: cannot be read \(Permission denied\)"),
    ):
        Bundle.open(bundle.folder, trusted=trusted)


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_may_not_be_read_any_more_is_named(name: str, bundle: Bundle) -> None:
    read = {"graph.onnx": bundle.graph_bytes, "bank.safetensors": bundle.bank}.get(name, bundle.golden)
    path = bundle.folder / ("golden.safetensors" if name == "manifest.json" else name)
    with unreadable(path), pytest.raises(BundleRefused, match=f"{path.name}: cannot be read"):
        read()
    path.unlink()
    with pytest.raises(BundleMissing, match=f"{path.name}: cannot be read"):
        read()


@pytest.mark.parametrize(
    ("name", "largest"),
    [
        ("graph.onnx", 2 * 2**30),
        ("bank.safetensors", 2**30),
        ("golden.safetensors", 2 * 2**30),
        ("manifest.json", 16 * 2**20),
        ("signature", 4096),
    ],
)
def test_a_file_that_is_too_large_is_not_read(
    name: str, largest: int, bundle: Bundle, trusted: TrustedSigners
) -> None:
    (bundle.folder / name).unlink()  # the graph may be linked to the folder of graphs
    with (bundle.folder / name).open("wb") as file:
        file.truncate(largest + 1)  # without content: it takes no room on the disk
    with pytest.raises(
        BundleRefused, match=f"{name}: {largest + 1} bytes; a bundle's {name} has at most {largest}"
    ):
        Bundle.open(bundle.folder, trusted=None if name == "manifest.json" else trusted)


@pytest.mark.parametrize("name", ["a" * 300, "~nobody-of-that-name/bundle"])
def test_a_name_that_no_folder_can_have_is_not_there(name: str, tmp_path: Path) -> None:
    with pytest.raises(BundleMissing, match=name) as missing:
        Bundle.open(Path(name) if name.startswith("~") else tmp_path / name, trusted=None)
    assert missing.value.exit_code == 66


def of_type(kind: str, *, shape: str = "[2,2]") -> bytes:
    """Return a safetensors file whose only tensor is of a type and shape that its header says."""
    header = f'{{"rows":{{"dtype":"{kind}","shape":{shape},"data_offsets":[0,8]}}}}'.encode()
    return struct.pack("<Q", len(header)) + header + bytes(8)


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        pytest.param(of_type("BF16"), "tensors of type BF16", id="bf16"),
        pytest.param(of_type("F8_E4M3", shape="[8]"), "tensors of type F8_E4M3", id="f8"),
        pytest.param(of_type("F32", shape="[4611686018427387904,4]"), "not a safetensors file", id="shape"),
        pytest.param(of_type("F99"), "not a safetensors file", id="no type"),
    ],
)
def test_tensors_of_other_types_are_refused(raw: bytes, says: str, bundle: Bundle, tmp_path: Path) -> None:
    folder = plain_copy(bundle, tmp_path / "forged")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["bank_sha256"] = manifest["golden"]["sha256"] = hashlib.sha256(raw).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))
    for name in ("bank.safetensors", "golden.safetensors"):
        (folder / name).write_bytes(raw)
    opened = Bundle.open(folder, trusted=None)
    with pytest.raises(BundleRefused, match=rf"bank\.safetensors: {says}"):
        opened.bank()
    with pytest.raises(BundleRefused, match=rf"golden\.safetensors: {says}"):
        opened.golden()


def test_a_bank_whose_squares_are_not_finite_is_refused_without_a_warning() -> None:
    rows = np.full((2, 3), 3e38, dtype=np.float32)
    bank = MemoryBank(rows=rows, origin=np.zeros(2, dtype=np.int32))
    with pytest.raises(BundleRefused, match=r"values up to 3\.0e\+38; their squares do not fit"):
        bank.augmented()


def test_a_bank_that_is_not_finite_is_refused() -> None:
    rows = np.full((2, 3), np.nan, dtype=np.float32)
    with pytest.raises(BundleRefused, match="not finite"):
        MemoryBank(rows=rows, origin=np.zeros(2, dtype=np.int32))


def test_a_place_that_cannot_be_written_is_named_and_nothing_is_left(
    learned: Learned, tmp_path: Path
) -> None:
    (tmp_path / "bundles").write_text("a file")
    with pytest.raises(BundleNotWritten, match="cannot be written"):
        learned.save(tmp_path / "bundles", product="weave")
    assert [path.name for path in tmp_path.iterdir()] == ["bundles"]


def test_a_graph_that_changed_since_learning_is_not_saved(learned: Learned, tmp_path: Path) -> None:
    from dataclasses import replace

    from partgate_engines import GraphRefused

    other = tmp_path / "other.onnx"
    other.write_bytes(b"other")
    with pytest.raises(GraphRefused, match="changed since"):
        replace(learned, graph=other).save(tmp_path / "bundles", product="weave")
    assert not (tmp_path / "bundles").exists()
