"""A product judged in tiles, by the commands a user types."""

import json
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from commands import last_json, partgate
from partgate_cameras import draw_part
from partgate_station import VirtualCamera

LINE = VirtualCamera(kind="virtual", camera_id="top", texture="gravel", seed=3, size_px=288, defect_rate=0)


def write(folder: Path, numbers: range) -> Path:
    folder.mkdir(parents=True)
    for number in numbers:
        Image.fromarray(draw_part(LINE, number).image).save(folder / f"{number}.png")
    return folder


def test_learn_score_and_verify_in_tiles(demo_home: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(demo_home / "graphs", home / "graphs")
    good = write(tmp_path / "good", range(6))
    region = "0,0 288,0 288,200 0,200"
    learned = last_json(
        partgate(
            "learn", "gravel", "--good", good, "--tile-px", "160", "--region", region, "--json", home=home
        )
    )
    shown = last_json_object(partgate("models", "show", learned["model"][:12], home=home).stdout)
    assert shown["manifest"]["tiling"] == {"tile_px": 160, "overlap_px": 20}

    images = write(tmp_path / "images", range(50, 52))
    holed = draw_part(LINE, 53).image.copy()
    holed[150:170, 200:220] = 0
    Image.fromarray(holed).save(images / "bad.png")
    maps = tmp_path / "maps"
    done = partgate("score", "gravel", images, "--json", "-", "--maps", maps, home=home)
    lines = {Path(line["file"]).name: line for line in map(json.loads, done.stdout.splitlines())}
    assert lines["bad.png"]["verdict"] == "REJECT"
    assert lines["bad.png"]["score"] == max(line["score"] for line in lines.values())
    with Image.open(maps / "images" / "bad.png") as picture:
        coloured = np.ptp(np.asarray(picture.convert("RGB")).astype(int), axis=2)
    assert coloured.shape == (288, 288)
    assert coloured[155:165, 205:215].mean() > coloured[:60, :60].mean() + 20

    verified = last_json(partgate("models", "verify", "gravel", "--json", home=home))
    assert verified["passed"] is True, verified["problems"]


def last_json_object(text: str) -> dict[str, dict[str, object]]:
    shown: dict[str, dict[str, object]] = json.loads(text)
    return shown
