"""The graph that comes with the installation, so that a first product is learned without an export."""

import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest

from partgate_engines import GraphRefused, TrainingUnavailable
from partgate_engines.anomaly import Learned, LearnSettings, _graphs, _installed_graphs
from partgate_engines.anomaly._graphs import graph_for
from partgate_engines.anomaly._installed_graphs import install, installed_graphs
from partgate_engines.anomaly._weights import PACKAGED_BACKBONE, find_weights


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(_installed_graphs, "_PLACE", tmp_path / "installed")
    installed_graphs.cache_clear()
    yield tmp_path / "installed"
    installed_graphs.cache_clear()


@pytest.fixture
def no_export(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "partgate_engines.anomaly._export", raising=False)
    monkeypatch.setitem(sys.modules, "onnx", None)


def put(learned: Learned, folder: Path, content: bytes) -> None:
    folder.mkdir(parents=True)
    (folder / learned.graph.name).write_bytes(content)
    (folder / learned.graph.name).with_suffix(".sha256").write_text(learned.graph_sha256)


@pytest.mark.usefixtures("no_export")
def test_a_home_takes_the_installed_graph_and_needs_no_torch(
    learned: Learned, place: Path, tmp_path: Path, settings: LearnSettings
) -> None:
    put(learned, installed_graphs(), learned.graph.read_bytes())
    path = graph_for(settings, find_weights(PACKAGED_BACKBONE, None), tmp_path / "home")
    assert path == tmp_path / "home" / learned.graph.name
    assert hashlib.sha256(path.read_bytes()).hexdigest() == learned.graph_sha256
    assert installed_graphs().parent == place


@pytest.mark.usefixtures("no_export", "place")
def test_a_damaged_installed_graph_is_not_taken(
    learned: Learned, tmp_path: Path, settings: LearnSettings
) -> None:
    put(learned, installed_graphs(), learned.graph.read_bytes()[:-1])
    with pytest.raises(TrainingUnavailable, match="first product"):
        graph_for(settings, find_weights(PACKAGED_BACKBONE, None), tmp_path / "home")
    assert not (tmp_path / "home").exists()


def test_graphs_of_other_code_are_not_taken(tmp_path: Path) -> None:
    digests = []
    for code in ("a = 1", "a = 2", "a = 1"):
        (tmp_path / "kinds").mkdir(exist_ok=True)
        (tmp_path / "kinds" / "one.py").write_text(code)
        digests.append(_installed_graphs._digest(tmp_path))
    assert digests[0] == digests[2] != digests[1]


def test_installing_puts_the_usual_graph_in_the_place_of_others(place: Path) -> None:
    (place / "older").mkdir(parents=True)
    with mock.patch.object(_graphs, "_exported", return_value=b"a graph") as exported:
        assert install() == 0
    assert exported.call_args.args[0] == LearnSettings()
    (folder,) = place.iterdir()
    assert sorted(path.suffix for path in folder.iterdir()) == [".onnx", ".sha256"]


def test_an_installation_without_a_graph_is_none_the_less_one(
    place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with mock.patch.object(_graphs, "_exported", side_effect=GraphRefused("it differs")):
        assert install() == 0
    assert "no graph is installed (it differs)" in caplog.text
    assert not place.exists()
