"""Only signed and proven models judge parts, and no pickle is read on the way."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from commands import STATIONS, in_process, last_json, opened, partgate
from partgate.records import Home, Keys, Proofs, SuspectParts, flag_suspects
from partgate_cameras import draw_part
from partgate_engines import Bundle, ParityReport, Signer
from partgate_engines._openvino_device import DeviceConfig, compile_graph, export_engine
from partgate_station import VirtualCamera

LINE = VirtualCamera(kind="virtual", camera_id="top", texture="brick", seed=5, size_px=256, defect_rate=0)


def bundle_of(home: Path) -> Path:
    (folder,) = (home / "bundles").iterdir()
    return folder


def reports(home: Path) -> list[ParityReport]:
    return [ParityReport.model_validate_json(path.read_bytes()) for path in (home / "parity").iterdir()]


@pytest.fixture
def images(tmp_path: Path) -> Path:
    from PIL import Image

    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(2):
        Image.fromarray(draw_part(LINE, number).image).save(folder / f"{number}.png")
    return folder


def test_the_demos_model_was_proven_before_it_judged(demo_home: Path) -> None:
    (report,) = reports(demo_home)
    assert report.passed
    # Torch's, unless the graph was exported before, as it is while installing.
    assert report.references.startswith(("torch ", "openvino "))
    assert report.fingerprint.bundle == bundle_of(demo_home).name
    assert "parity gate" in (demo_home.parent / "demo.log").read_text()
    manifest = json.loads((bundle_of(demo_home) / "manifest.json").read_text())
    assert len(manifest["golden"]["frames"]) >= 5


def test_a_proof_is_made_once_and_again_when_it_is_lost(copied_home: Path) -> None:
    (path,) = (copied_home / "parity").iterdir()
    run = ("run", STATIONS / "virtual.toml", "--parts", "1")
    assert "parity gate" not in partgate(*run, home=copied_home).stderr
    path.unlink()
    assert "parity gate" in partgate(*run, home=copied_home).stderr
    assert path.exists()


def test_a_model_that_is_wrong_here_must_not_judge(copied_home: Path) -> None:
    """What the bundle says counts, not this machine's opinion."""
    folder = bundle_of(copied_home)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["golden"]["frames"][1]["score"] *= 1.02
    changed = json.dumps(manifest).encode()
    (folder / "manifest.json").write_bytes(changed)
    (folder / "signature").write_bytes(Keys(Home.open(copied_home)).signer().sign(changed))
    done = partgate("models", "verify", folder.rename(folder.with_name("other")), home=copied_home)
    assert done.returncode == 65
    assert "Failed: thin scratch: the score is" in done.stdout
    assert "must not judge" in done.stdout


def keep_a_wrong_engine(home: Path) -> Path:
    """Put what a graph with other weights is compiled to in the place of a model's engine; return where."""
    graph = bundle_of(home) / "graph.onnx"
    notes = (home / "graphs" / "openvino").glob("*.json")
    (note,) = [path for path in notes if "map=False" in path.read_text()]
    compiled = compile_graph(
        graph, content=bent(graph.read_bytes()), with_map=False, with_features=True, config=DeviceConfig()
    )
    plan = export_engine(compiled)
    said = {**json.loads(note.read_text()), "sha256": hashlib.sha256(plan).hexdigest()}
    note.with_suffix(".plan").write_bytes(plan)
    note.write_text(json.dumps(said))
    return note


def bent(graph: bytes) -> bytes:
    """Return a graph whose convolutions weigh a tenth more."""
    model = onnx.load_from_string(graph)
    for weights in model.graph.initializer:
        if len(weights.dims) == 4:
            values = onnx.numpy_helper.to_array(weights) * np.float32(1.1)
            weights.CopyFrom(onnx.numpy_helper.from_array(values, weights.name))
    content: bytes = model.SerializeToString()
    return content


@pytest.mark.parametrize(
    "command",
    [("models", "verify", "brick"), ("run", STATIONS / "virtual.toml", "--parts", "1")],
    ids=["verify", "run"],
)
def test_a_kept_engine_that_answers_wrongly_is_compiled_anew(
    command: tuple[str | Path, ...], copied_home: Path
) -> None:
    """Its hash is right, and a proof of before says that it may judge."""
    note = keep_a_wrong_engine(copied_home)
    wrong = note.read_bytes()
    done = partgate(*command, home=copied_home)
    assert done.returncode == 0, done.stderr
    assert "engine.forgotten" in done.stderr
    assert note.read_bytes() != wrong
    assert [report.passed for report in reports(copied_home)] == [True]
    assert "engine.forgotten" not in partgate(*command, home=copied_home).stderr


def test_verify_prints_every_golden_frame(copied_home: Path) -> None:
    result = last_json(partgate("models", "verify", "brick", "--json", home=copied_home))
    assert (result["passed"], result["flips"]) == (True, 0)
    assert {"thin scratch", "hole", "all black"} <= {frame["name"] for frame in result["frames"]}
    assert all(frame["reference"] == pytest.approx(frame["here"], rel=1e-3) for frame in result["frames"])
    text = partgate("models", "verify", bundle_of(copied_home).name[:8], home=copied_home).stdout
    assert "thin scratch" in text
    assert "Passed" in text
    assert partgate("models", "verify", "nothing", home=copied_home).returncode == 66


def test_a_revoked_signers_model_is_not_loaded(copied_home: Path) -> None:
    keys = Keys(Home.open(copied_home))
    name = keys.signer().name
    assert partgate("keys", "revoke", name, "--reason", "leaked", home=copied_home).returncode == 0
    done = partgate("run", STATIONS / "virtual.toml", "--parts", "1", home=copied_home)
    assert done.returncode == 65
    assert f'signer "{name}"' in done.stderr
    assert "is not in trusted_signers (nobody)" in done.stderr
    shown = partgate("models", "activate", bundle_of(copied_home).name, home=copied_home)
    assert shown.returncode == 65


def test_a_bundle_from_elsewhere_is_scored_once_its_signer_is_trusted(
    demo_home: Path, images: Path, tmp_path: Path
) -> None:
    station = tmp_path / "station"  # there is no such home yet: trusting somebody makes it
    bundle = Path(shutil.copytree(bundle_of(demo_home), tmp_path / "brought"))
    refused = partgate("score", bundle, images, "--json", "-", home=station)
    assert refused.returncode == 65
    assert "is not in trusted_signers" in refused.stderr
    assert "--unverified" in refused.stderr
    assert partgate("score", bundle, images, "--unverified", home=station).returncode == 0
    (public,) = (demo_home / "keys" / "trusted").iterdir()
    assert partgate("keys", "trust", public, "--name", "trainer-3", home=station).returncode == 0
    done = partgate("score", bundle, images, "--json", "-", home=station)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 2


def test_another_key_under_the_homes_own_name_is_refused(copied_home: Path, images: Path) -> None:
    folder = bundle_of(copied_home)
    said = json.loads((folder / "signature").read_text())
    impostor = Signer.new(name=said["signer"])
    (folder / "signature").write_bytes(impostor.sign((folder / "manifest.json").read_bytes()))
    done = partgate("score", "brick", images, home=copied_home)
    assert done.returncode == 65
    assert "is trusted with key" in done.stderr


def test_the_ledger_names_suspect_parts(copied_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = last_json(in_process("ledger", "--json", home=copied_home, capsys=capsys))
    assert before["suspect"] == []
    found = SuspectParts(
        station_id="virtual", first_trigger_id=11, last_trigger_id=20, model_id=None, runtime="openvino",
        why="thin scratch: the score is 5",
    )  # fmt: skip
    with opened(copied_home) as database:
        database.write(lambda session: flag_suspects(session, found)).result(10)
    done = in_process("ledger", "--json", home=copied_home, capsys=capsys)
    assert last_json(done)["suspect"] == [
        {"station_id": "virtual", "first_trigger_id": 11, "last_trigger_id": 20, "model_id": None,
         "runtime": "openvino", "why": "thin scratch: the score is 5"}
    ]  # fmt: skip
    text = in_process("ledger", home=copied_home, capsys=capsys).stdout
    assert "suspect: station 'virtual', triggers 11 to 20" in text


FORBIDDEN = """
import pickle, sys
import _pickle
import numpy as np

def refuse(*arguments, **named):
    raise SystemExit("a pickle was read")

class Refused:
    def __init__(self, *arguments, **named):
        refuse()

pickle.load = pickle.loads = _pickle.load = _pickle.loads = refuse
pickle.Unpickler = _pickle.Unpickler = pickle._Unpickler = Refused
true_load = np.load

def load(file, *arguments, allow_pickle=False, **named):
    if allow_pickle:
        raise SystemExit("numpy may read a pickle")
    return true_load(file, *arguments, allow_pickle=False, **named)

np.load = load

def watch(event, arguments):
    if event == "pickle.find_class":
        raise SystemExit("a pickle named a class")
    heavy = {"torch", "joblib", "anomalib", "timm", "dill"}
    if event == "import" and arguments[0].partition(".")[0] in heavy:
        raise SystemExit(f"{arguments[0]} was imported")

sys.addaudithook(watch)
"""


def watched(code: str, home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", FORBIDDEN + code],
        env={**os.environ, "PARTGATE_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_judging_reads_no_pickle(copied_home: Path, images: Path) -> None:
    command = ["run", str(STATIONS / "virtual.toml"), "--parts", "3", "--json"]
    done = watched(f"from partgate.cli import main\nmain({command!r})", copied_home)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["parts"] == 3
    shutil.rmtree(copied_home / "parity")
    command = ["score", "brick", str(images), "--json", "-"]
    done = watched(f"from partgate.cli import main\nmain({command!r})", copied_home)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 2


@pytest.mark.parametrize(
    ("code", "says"),
    [
        pytest.param("pickle.loads(pickle.dumps(1))", "a pickle was read", id="loads"),
        pytest.param("import torch", "torch was imported", id="torch"),
        pytest.param(
            "import io; np.load(io.BytesIO(), allow_pickle=True)", "numpy may read a pickle", id="numpy"
        ),
    ],
)
def test_the_watch_for_pickles_sees_them(code: str, says: str, tmp_path: Path) -> None:
    done = watched(code, tmp_path)
    assert done.returncode == 1
    assert says in done.stderr


def test_a_proof_kept_by_verify_is_the_one_a_station_looks_for(copied_home: Path) -> None:
    home = Home.open(copied_home)
    (report,) = reports(copied_home)
    shutil.rmtree(copied_home / "parity")
    assert partgate("models", "verify", "brick", home=copied_home).returncode == 0
    manifest = Bundle.open(bundle_of(copied_home), trusted=None).manifest
    assert Proofs(home).get(report.fingerprint, manifest) is not None
    done = partgate("run", STATIONS / "virtual.toml", "--parts", "1", home=copied_home)
    assert "parity gate" not in done.stderr
