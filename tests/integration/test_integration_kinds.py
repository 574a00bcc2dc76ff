"""Products of other kinds than PatchCore, by the commands a user types."""

import json
import shutil
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from PIL import Image

from commands import STATIONS, Done, last_json, partgate
from partgate.cli._learn_options import Kind
from partgate_cameras import draw_part
from partgate_engines._manifest import KindName
from partgate_station import VirtualCamera

# Each exports a graph of its own: torch and anomalib take ten seconds to import, fifty on a busy machine.
pytestmark = pytest.mark.timeout(300)

LINE = VirtualCamera(kind="virtual", camera_id="top", texture="gravel", seed=3, size_px=160, defect_rate=0)


@pytest.fixture
def home(demo_home: Path, tmp_path: Path) -> Path:
    """A home that knows the packaged backbone's graph already."""
    shutil.copytree(demo_home / "graphs", tmp_path / "fresh" / "graphs")
    return tmp_path / "fresh"


@pytest.fixture
def good(tmp_path: Path) -> Path:
    return write(tmp_path / "good", range(8))


def write(folder: Path, numbers: range) -> Path:
    folder.mkdir(parents=True)
    for number in numbers:
        Image.fromarray(draw_part(LINE, number).image).save(folder / f"{number}.png")
    return folder


def write_defects(folder: Path, masks: Path, numbers: range) -> None:
    """Write parts with a hole, and masks of all but the last."""
    folder.mkdir(parents=True)
    masks.mkdir(parents=True)
    for number in numbers:
        holed = draw_part(LINE, number).image.copy()
        holed[60:90, 70:100] = 0
        Image.fromarray(holed).save(folder / f"{number}.png")
        if number != numbers[-1]:
            mask = np.zeros(holed.shape[:2], dtype=np.uint8)
            mask[60:90, 70:100] = 255
            Image.fromarray(mask).save(masks / f"{number}_mask.png")


def problem(done: Done) -> tuple[int, str]:
    return done.returncode, " ".join(done.stderr.split())


def test_the_command_knows_every_kind() -> None:
    assert sorted(get_args(Kind)) == sorted(get_args(KindName))


def test_a_subspace_judges_a_line_and_grows_by_what_qa_finds(home: Path, good: Path, tmp_path: Path) -> None:
    learned = last_json(partgate("learn", "gravel", "--kind", "pca", "--good", good, "--json", home=home))
    assert (learned["kind"], learned["good_images"]) == ("pca", 8)
    listed = json.loads(partgate("models", "list", "--json", home=home).stdout)
    assert [(row["kind"], row["active"]) for row in listed] == [("pca", True)]

    holed = tmp_path / "holed"
    write_defects(holed, tmp_path / "masks", range(50, 52))
    done = partgate("score", "gravel", holed, good, "--json", "-", home=home)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    bad = [line["score"] for line in lines if "holed" in line["file"]]
    fine = [line["score"] for line in lines if "holed" not in line["file"]]
    assert min(bad) > max(fine)

    station = tmp_path / "station.toml"
    text = (STATIONS / "virtual.toml").read_text()
    station.write_text(text.replace('"brick"', '"gravel"').replace("seed = 7", "seed = 3\nsize_px = 160"))
    balance = last_json(partgate("run", station, "--parts", "12", "--json", home=home))
    assert balance["parts"] == balance["triggers"] == 12
    assert balance["balanced"] is True

    verified = last_json(partgate("models", "verify", "gravel", "--json", home=home))
    assert verified["passed"] is True, verified["problems"]


def test_defects_with_masks_are_learned_from_and_not_counted(home: Path, good: Path, tmp_path: Path) -> None:
    defects, masks = tmp_path / "defective", tmp_path / "masks"
    write_defects(defects, masks, range(50, 54))
    options = ("--kind", "supersimplenet", "--steps", "3", "--size", "64", "--json")
    learned = last_json(
        partgate(
            "learn", "gravel", "--good", good, "--defects", defects, "--masks", masks, *options, home=home
        )
    )
    assert learned["training"]["defects"] == 3
    assert learned["training"]["steps"] == 3
    assert learned["defective_images"] == 1
    verified = last_json(partgate("models", "verify", "gravel", "--json", home=home))
    assert verified["passed"] is True, verified["problems"]


def test_what_cannot_be_done_is_said(home: Path, good: Path, tmp_path: Path) -> None:
    def learn(*options: str | Path) -> tuple[int, str]:
        return problem(partgate("learn", "gravel", "--good", good, *options, home=home))

    code, said = learn("--kind", "reverse-distillation")
    assert (code, "resnet18.safetensors" in said) == (66, True)
    code, said = learn("--kind", "padim", "--tile-px", "64")
    assert (code, "leave it out, or take patchcore or pca" in said) == (78, True)
    code, said = learn("--steps", "5")
    assert (code, "patchcore is not trained in steps" in said) == (78, True)
    masks = tmp_path / "masks"
    masks.mkdir()
    code, said = learn("--masks", masks)
    assert (code, "give --defects DIR as well" in said) == (2, True)
    write(tmp_path / "defective", range(50, 51))
    code, said = learn("--defects", tmp_path / "defective", "--masks", masks)
    assert (code, "none of 0 masks has the name" in said) == (65, True)
