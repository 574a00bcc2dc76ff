"""`partgate learn --choose`: the tile size is chosen from good images, and said everywhere."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from commands import in_process, last_json

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def home(demo_home: Path, tmp_path: Path) -> Path:
    """A home without a product, with the graphs that the demo has exported."""
    shutil.copytree(demo_home / "graphs", tmp_path / "home" / "graphs")
    return tmp_path / "home"


@pytest.fixture
def good(tmp_path: Path) -> Path:
    """Ten good parts of 384 px whose grain is two pixels fine."""
    folder = tmp_path / "good"
    folder.mkdir()
    for number in range(10):
        random = np.random.default_rng(number)
        grain = cv2.GaussianBlur(random.normal(0, 1, (384, 384)), (0, 0), 1.0)
        pixels = np.clip(120 + 60 * grain + random.normal(0, 6), 0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / f"{number}.png"), pixels)
    return folder


def test_tiles_are_chosen_by_what_finds_drawn_defects(
    home: Path, good: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Layers and contrast are given, so that no graph has to be exported."""
    pinned = ("--layers", "blocks.2,blocks.4", "--contrast", "global", "--bank", "500")
    told = last_json(
        in_process("learn", "felt", "--good", good, "--choose", *pinned, "--json", home=home, capsys=capsys)
    )
    assert [(one["tile_px"], one["tiles"]) for one in told["trials"]] == [(None, 1), (256, 4)]
    chosen = [one for one in told["trials"] if one["taken"]][-1]
    assert told["tile_px"] == chosen["tile_px"]
    gain = min(size["auroc"] for size in told["trials"][1]["by_size"])
    gain -= min(size["auroc"] for size in told["trials"][0]["by_size"])
    assert told["trials"][1]["gain"] == pytest.approx(gain)
    assert told["trials"][1]["taken"] is (gain > 2 * told["trials"][1]["error"])
    assert "trying whole frames, global contrast, blocks.2+blocks.4" in told["seconds_per_step"]
    shown = last_json(in_process("models", "show", told["model"][:12], home=home, capsys=capsys))
    assert shown["manifest"]["trials"] == told["trials"]
    page = Path(told["page"]).read_text(encoding="utf-8")
    assert "What was chosen, and why" in page
    assert "4 tiles of 256 px" in page
