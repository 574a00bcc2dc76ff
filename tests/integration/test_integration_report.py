"""What `partgate learn` says at its end: in the terminal, as JSON, and as a page with pictures."""

import base64
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from commands import Done, in_process, last_json
from partgate_cameras import draw_part
from partgate_station import VirtualCamera

pytestmark = pytest.mark.timeout(300)


class Page(HTMLParser):
    """Collects what a browser would act on."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.words += data

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.attributes if key == name]


def drawn(folder: Path, name: str, seed: int, numbers: range, *, defect: bool = False) -> None:
    folder.mkdir(exist_ok=True)
    line = VirtualCamera(
        kind="virtual", camera_id="top", texture="brick", seed=seed, size_px=192, defect_rate=float(defect)
    )
    for number in numbers:
        cv2.imwrite(str(folder / f"{name}{number}.png"), draw_part(line, number).image)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Sixteen good parts, one of them twice, with one <b>ad part among them; and four defective ones."""
    root = tmp_path_factory.mktemp("taught")
    good, bad = root / "good", root / "bad"
    drawn(good, "part", 3, range(16))
    shutil.copy(good / "part5.png", good / "part5 again.png")
    drawn(good, "<b>ad", 4, range(1), defect=True)
    drawn(bad, "defect", 4, range(10, 14), defect=True)
    return good, bad


@pytest.fixture
def home(demo_home: Path, tmp_path: Path) -> Path:
    """A home without a product, with the graphs that the demo has exported."""
    shutil.copytree(demo_home / "graphs", tmp_path / "home" / "graphs")
    return tmp_path / "home"


def learn(home: Path, folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str], *more: str) -> Done:
    good, bad = folders
    return in_process(
        "learn", "wall", "--good", good, "--defects", bad, "--bank", "500", *more, home=home, capsys=capsys
    )


def test_a_bad_image_is_named_and_not_learned_and_the_page_shows_it(
    home: Path, folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    told = last_json(learn(home, folders, capsys, "--json"))
    assert (told["given_images"], told["good_images"]) == (18, 17)
    (aside,) = told["set_aside"]
    assert aside["image"] == "good/<b>ad0.png"
    assert aside["score"] > aside["limit"]
    assert told["duplicates"]["copies"][0]["images"] == ["good/part5 again.png", "good/part5.png"]
    assert told["defective_flagged"] == 4
    assert {"reading good", "features", "bank", "scores", "golden frames"} <= set(told["seconds_per_step"])
    assert sum(one["rows"] for one in told["bank"]["most_rows"]) <= told["bank_rows"] == 500
    shown = last_json(in_process("models", "show", told["model"][:12], home=home, capsys=capsys))
    assert shown["page"] == told["page"]
    _check_page(Path(told["page"]), told)


def _check_page(path: Path, told: dict[str, Any]) -> None:
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert not {"script", "link", "iframe", "form", "b"} & set(page.tags)
    assert all(value.startswith("data:image/jpeg;base64,") for value in page.values("src"))
    assert not page.values("style"), "the policy of the page allows its one style sheet alone"
    assert "default-src 'none'" in next(v for v in page.values("content") if "src" in v)
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text)
    assert "good/<b>ad0.png" in page.words
    assert "Set aside: shown, not learned" in page.words
    assert told["model"] in page.words
    # Set aside 1, worst good 6, defects 4: each as it is and with its map; and the two copies at least.
    assert len(page.values("src")) >= 2 * (1 + 6 + 4) + 2
    for address in page.values("src"):
        data = np.frombuffer(base64.b64decode(address.split(",", 1)[1]), np.uint8)
        assert cv2.imdecode(data, cv2.IMREAD_COLOR) is not None


def test_a_person_can_say_that_it_is_good(
    home: Path, folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    done = learn(home, folders, capsys, "--keep-outliers")
    assert done.returncode == 0, done.stderr
    assert "from 18 good images" in done.stdout
    assert "not learned" not in done.stdout
    path = re.search(r"with pictures: (.+report\.html)", done.stdout)
    assert path is not None
    assert "Set aside" not in Path(path[1]).read_text(encoding="utf-8")


def test_a_page_that_cannot_be_written_is_said_and_the_model_stays(
    home: Path, folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    home.mkdir(exist_ok=True)
    (home / "reports").write_text("a file in the way")
    done = learn(home, folders, capsys, "--json")
    assert "no page with pictures" in done.stderr
    assert last_json(done)["page"] is None
    assert last_json(done)["active"] is True
