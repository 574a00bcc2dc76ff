import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from partgate_engines import Bundle, GraphRefused, WeightsMissing, WeightsRefused
from partgate_engines._openvino import OpenVinoGraph
from partgate_engines.anomaly import Learned, LearnSettings, _export, _graphs
from partgate_engines.anomaly._graphs import graph_for
from partgate_engines.anomaly._weights import PACKAGED_BACKBONE, find_weights


def test_the_packaged_weights_are_found() -> None:
    weights = find_weights(PACKAGED_BACKBONE, None)
    assert weights.packaged
    assert weights.sha256.startswith("57934424")  # the publisher names the file by it


def test_weights_that_no_package_brings_are_asked_for() -> None:
    with pytest.raises(WeightsMissing, match=r"resnet18\.safetensors") as refused:
        find_weights("resnet18", None)
    assert refused.value.exit_code == 66


def test_a_folder_without_the_weights_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing, match=str(tmp_path / "resnet18.safetensors")):
        find_weights("resnet18", tmp_path)


def test_safetensors_come_before_pickles(tmp_path: Path) -> None:
    (tmp_path / "resnet18.pth").write_bytes(b"a")
    (tmp_path / "resnet18.safetensors").write_bytes(b"b")
    assert find_weights("resnet18", tmp_path).path.name == "resnet18.safetensors"


def test_other_formats_of_weights_are_refused(tmp_path: Path) -> None:
    (tmp_path / "weights.pkl").write_bytes(b"a")
    with pytest.raises(WeightsRefused, match=r"\.safetensors or \.pth"):
        find_weights("resnet18", tmp_path / "weights.pkl")


def exported(backbone: str, weights: Path | None, folder: Path, layers: tuple[str, ...]) -> OpenVinoGraph:
    settings = LearnSettings(backbone=backbone, layers=layers, size_px=64, weights=weights)
    path = graph_for(settings, find_weights(backbone, weights), folder)
    return OpenVinoGraph(path, with_features=True)


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_any_timm_backbone_with_weights_on_disk(suffix: str, tmp_path: Path) -> None:
    timm, torch = pytest.importorskip("timm"), pytest.importorskip("torch")
    from safetensors.torch import save_file

    state = timm.create_model("resnet18", pretrained=False).state_dict()
    path = tmp_path / f"resnet18.{suffix}"
    save_file(state, path) if suffix == "safetensors" else torch.save(state, path)
    graph = exported("resnet18", tmp_path, tmp_path / "graphs", ("layer2", "layer3"))
    assert (graph.grid, graph.features) == ((8, 8), 128 + 256)


def test_weights_of_another_backbone_are_refused(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.save({"conv1.weight": torch.zeros(3)}, tmp_path / "resnet18.pth")
    with pytest.raises(WeightsRefused, match="tensors missing, the first"):
        exported("resnet18", tmp_path, tmp_path / "graphs", ("layer2",))


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, trap: Path) -> None:
        self.trap = trap

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.trap),)


def test_weights_that_run_code_do_not_run_it(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.save({"conv1.weight": Bomb(tmp_path / "exploded")}, tmp_path / "resnet18.pth")
    with pytest.raises(WeightsRefused, match="more than tensors"):
        exported("resnet18", tmp_path, tmp_path / "graphs", ("layer2",))
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("content", [b"", b"rubbish", b"\0" * 100], ids=["empty", "text", "zeros"])
@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_damaged_weights_are_refused(suffix: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / f"resnet18.{suffix}").write_bytes(content)
    with pytest.raises(WeightsRefused, match=f"resnet18.{suffix}"):
        exported("resnet18", tmp_path, tmp_path / "graphs", ("layer2",))


def test_layers_and_backbones_that_do_not_exist_are_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsRefused, match=r"no layers blocks\.2, nothing; it has .*blocks\.4"):
        exported(PACKAGED_BACKBONE, None, tmp_path, ("blocks.2", "nothing"))
    (tmp_path / "resnet19.pth").write_bytes(b"a")
    with pytest.raises(WeightsRefused, match="resnet19: timm has no backbone"):
        exported("resnet19", tmp_path, tmp_path / "graphs", ("layer2",))
    assert not list(tmp_path.glob("*.onnx"))


def test_the_graph_names_no_path_of_this_machine(learned: Learned) -> None:
    content = learned.graph.read_bytes()
    assert b"site-packages" not in content
    assert b".py" not in content


def test_a_damaged_graph_is_exported_again_to_the_same_bytes(
    learned: Learned, tmp_path: Path, settings: LearnSettings, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / learned.graph.name
    path.write_bytes(b"half a gra")
    path.with_suffix(".sha256").write_text(learned.graph_sha256)
    assert graph_for(settings, find_weights(PACKAGED_BACKBONE, None), tmp_path) == path
    assert hashlib.sha256(path.read_bytes()).hexdigest() == learned.graph_sha256
    assert "damaged" in caplog.text


def without(package: str, body: str) -> str:
    """Run `go` where a package is not installed, in a process of its own; return why it cannot train."""
    blocked = f"import sys\nfrom pathlib import Path\nsys.modules[{package!r}] = None\n"
    caught = (
        "from partgate_engines import TrainingUnavailable\n"
        "try:\n    go()\nexcept TrainingUnavailable as error:\n    print(error)\n"
    )
    command = [sys.executable, "-W", "ignore", "-c", f"{blocked}def go():\n{body}\n{caught}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.timeout(300)
@pytest.mark.parametrize("package", ["torch", "anomalib", "timm"])
def test_without_torch_the_extra_is_named(package: str, tmp_path: Path) -> None:
    said = without(
        package,
        f"""
    from partgate_engines.anomaly import LearnSettings
    from partgate_engines.anomaly._graphs import graph_for
    from partgate_engines.anomaly._weights import PACKAGED_BACKBONE, find_weights
    graph_for(LearnSettings(size_px=64), find_weights(PACKAGED_BACKBONE, None), Path({str(tmp_path)!r}))
""",
    )
    assert f"needs {package}" in said
    assert "install partgate[train]" in said


def test_references_by_torch_name_the_extra_without_it(bundle: Bundle) -> None:
    said = without(
        "torch",
        f"""
    from partgate_engines import Bundle
    from partgate_engines.anomaly import recomputed
    recomputed(Bundle.open(Path({str(bundle.folder)!r}), trusted=None), None)
""",
    )
    assert "references by torch need torch; install partgate[train]" in said


def test_an_export_that_bakes_in_a_size_is_refused(
    tmp_path: Path, settings: LearnSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_export, "_FREE_AXES", {})
    with pytest.raises(GraphRefused):
        graph_for(settings, find_weights(PACKAGED_BACKBONE, None), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_export_that_says_something_else_is_refused(learned: Learned) -> None:
    example = _export._example((1, 70, 50, 1), 64, (8, 8), 152)
    graph = learned.graph.read_bytes()
    right = (np.zeros(1), np.zeros((1, 8, 8)), np.zeros((1, 64, 152)))
    with pytest.raises(GraphRefused, match=r"score for frames of \(1, 70, 50, 1\) differs"):
        _export._compare(graph, example, right)


def test_the_key_of_a_graph_tells_all_apart_that_changes_it(settings: LearnSettings) -> None:
    from dataclasses import replace

    weights = find_weights(PACKAGED_BACKBONE, None)
    keys = {
        _graphs._key(settings, weights),
        _graphs._key(replace(settings, size_px=96), weights),
        _graphs._key(replace(settings, layers=("blocks.4",)), weights),
        _graphs._key(settings, replace(weights, sha256="0" * 64)),
    }
    assert len(keys) == 4
    assert _graphs._key(replace(settings, bank_rows=7, seed=9), weights) in keys


def test_a_file_that_is_no_graph_is_refused(tmp_path: Path) -> None:
    (tmp_path / "graph.onnx").write_bytes(b"rubbish")
    with pytest.raises(GraphRefused, match=r"graph\.onnx: OpenVINO cannot read it"):
        OpenVinoGraph(tmp_path / "graph.onnx")
