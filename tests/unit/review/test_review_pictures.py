import hashlib
import io
import json
import re
import uuid
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from sqlmodel import select

from partgate.records import Frame, ImageState, SignalState
from partgate.review._gauge import MARK_X, WIDTH, gauge
from partgate.review._overlay import LONGEST_PX, Placement, overlay
from partgate.review._pictures import Pictures
from partgate.review._recipe_content import Box, Limits, inspected_box, limits_in, named_regions
from partgate.review._worst_region import worst_region

LIMITS = Limits(review=20, reject=30)


def _frame(line: Any, part: uuid.UUID) -> Any:
    found: Frame | None = line.read(
        lambda session: session.exec(select(Frame).where(Frame.part_id == part)).first()
    )
    assert found is not None
    return found


def _pixels(data: bytes) -> np.ndarray[Any, Any]:
    return np.asarray(Image.open(io.BytesIO(data)))


@pytest.mark.parametrize("shape", [(48, 64), (48, 64, 3)], ids=["grey", "colour"])
def test_an_image_reaches_the_browser_pixel_by_pixel(
    shape: tuple[int, ...], reviewer: Any, line: Any
) -> None:
    line.image = lambda seed=0, shape=shape: type(line).image(line, 7, shape)
    frame = _frame(line, line.part())
    answer = reviewer.get(f"/frames/{frame.id}/image.png")
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["cache-control"] == "private, max-age=31536000, immutable"
    assert np.array_equal(_pixels(answer.content), line.images.get(frame.image_sha256))


def test_a_thumbnail_is_small(reviewer: Any, line: Any) -> None:
    line.image = lambda seed=0: type(line).image(line, 7, (600, 800, 3))
    frame = _frame(line, line.part())
    answer = reviewer.get(f"/frames/{frame.id}/thumbnail.jpg")
    assert answer.headers["content-type"] == "image/jpeg"
    assert _pixels(answer.content).shape == (120, 160, 3)


def test_thumbnails_are_remembered_and_bounded(line: Any) -> None:
    reads: list[str] = []

    class Counting:
        def get(self, sha256: str) -> Any:
            reads.append(sha256)
            return line.images.get(sha256)

        def get_map(self, sha256: str) -> Any:
            return line.images.get_map(sha256)

    pictures = Pictures(Counting(), thumbnails=2)
    first, second, third = (line.image(seed) for seed in (1, 2, 3))
    assert pictures.thumbnail(first) == pictures.thumbnail(first)
    assert reads == [first]
    for sha256 in (second, third, first):
        pictures.thumbnail(sha256)
    assert reads == [first, second, third, first]
    assert len(pictures._thumbnails) == 2


@pytest.mark.parametrize(
    "path",
    [
        "/frames/..%2f..%2fetc%2fpasswd/image.png",
        "/frames/%2e%2e/image.png",
        "/frames/{frame}/../image.png",
        "/frames/{frame}%00/image.png",
        "/frames/{frame}/image.png%00.jpg",
        "/frames/{frame}/%252e%252e%252fpartgate.db",
        "/frames//etc/passwd",
        "/static/..%2f_gate.py",
        "/static/%2e%2e/_gate.py",
        "/static/..%5c_gate.py",
        "/static//etc/passwd",
        "/static/%00",
        "/frames/{sha}/image.png",
        "/images/{sha}.png",
    ],
)
def test_no_address_leads_out(path: str, reviewer: Any, line: Any) -> None:
    frame = _frame(line, line.part())
    answer = reviewer.get(path.format(frame=frame.id, sha=frame.image_sha256))
    assert answer.status_code in {400, 404, 422}
    assert "root:" not in answer.text
    assert "import" not in answer.text


def test_a_hash_that_no_frame_names_is_not_served(reviewer: Any, line: Any) -> None:
    line.part()
    stored = line.image(seed=99)
    assert line.images.has(stored)
    unknown = uuid.UUID(hashlib.md5(stored.encode()).hexdigest())
    assert reviewer.get(f"/frames/{unknown}/image.png").status_code == 404


def test_a_missing_file_is_said_in_its_place(reviewer: Any, line: Any) -> None:
    part = line.part()
    sha256 = _frame(line, part).image_sha256
    (line.home.images_path / sha256[:2] / f"{sha256}.jxl").unlink()
    page = reviewer.get(f"/parts/{part}")
    assert page.status_code == 200
    assert "missing from the image store" in page.text
    assert 'data-key="g"' in page.text, "the part can be decided all the same"
    assert reviewer.get(f"/frames/{_frame(line, part).id}/image.png").status_code == 404
    assert reviewer.get("/").status_code == 200


def test_a_damaged_file_is_not_shown(reviewer: Any, line: Any) -> None:
    part = line.part()
    frame = _frame(line, part)
    (line.home.images_path / frame.image_sha256[:2] / f"{frame.image_sha256}.jxl").write_bytes(b"damaged")
    assert reviewer.get(f"/parts/{part}").status_code == 200
    for name in ("image.png", "thumbnail.jpg"):
        assert reviewer.get(f"/frames/{frame.id}/{name}").status_code == 404


@pytest.mark.parametrize(
    ("state", "sentence"),
    [(ImageState.NOT_KEPT, "was not kept"), (ImageState.LOST, "is lost")],
    ids=["not kept", "lost"],
)
def test_an_image_that_is_not_there_says_why(
    state: ImageState, sentence: str, reviewer: Any, line: Any
) -> None:
    part = line.part()
    line.force(f"UPDATE frame SET image_state = '{state}', image_sha256 = NULL")
    page = reviewer.get(f"/parts/{part}").text
    assert sentence in page
    assert "<img" not in page
    assert "no image" in reviewer.get("/").text


def test_a_part_without_frames_and_one_with_several(reviewer: Any, line: Any) -> None:
    assert "No frame was recorded" in reviewer.get(f"/parts/{line.part(frames=0)}").text
    part = line.part(frames=3)
    pages = [reviewer.get(f"/parts/{part}?frame={number}").text for number in range(4)]
    images = [re.search(r"/frames/([0-9a-f-]+)/image.png", page) for page in pages]
    assert len({found[1] for found in images[:3] if found}) == 3
    assert "camera2" in pages[0]
    assert "none with this number" in pages[3]


def _shown(text: str) -> str:
    found = re.search(r"/frames/([0-9a-f-]+)/", text)
    assert found is not None
    return found[1]


@pytest.mark.parametrize(
    ("scores", "decisive"),
    [
        pytest.param((3.0, 34.5, 12.0), 1, id="the highest"),
        pytest.param((None, 34.5, float("inf")), 1, id="the highest that is finite"),
        pytest.param((34.5, 34.5), 0, id="the first of equals"),
        pytest.param((None, None), 0, id="the first where none has one"),
        pytest.param((-3.0, -2.0, None), 1, id="below zero"),
    ],
)
def test_a_part_opens_on_the_frame_that_decided(
    scores: tuple[float | None, ...], decisive: int, reviewer: Any, line: Any
) -> None:
    part = line.part(scores=scores)
    shown = _shown(reviewer.get(f"/parts/{part}").text)
    assert shown == _shown(reviewer.get(f"/parts/{part}?frame={decisive}").text)
    assert shown == _shown(reviewer.get("/").text), "the list shows the same frame"
    newer = line.part()
    ahead = re.search(r'data-ahead="/frames/([0-9a-f-]+)/image', reviewer.get(f"/parts/{newer}").text)
    assert ahead is not None
    assert ahead[1] == shown, "and it is fetched in good time"


def test_the_list_shows_the_worst_of_the_frames_that_were_kept(reviewer: Any, line: Any) -> None:
    part = line.part(scores=(3.0, 34.5, 12.0))
    line.force("UPDATE frame SET image_state = 'NOT_KEPT', image_sha256 = NULL WHERE score = 34.5")
    third = _shown(reviewer.get(f"/parts/{part}?frame=2").text)
    assert _shown(reviewer.get("/").text) == third
    assert "was not kept" in reviewer.get(f"/parts/{part}").text


def test_each_frames_score_stands_beside_its_camera(reviewer: Any, line: Any) -> None:
    text = reviewer.get(f"/parts/{line.part(scores=(3.0, 34.5, None))}").text
    tabs = re.findall(r"<bdi>(camera\d)</bdi> <span class=\"number\">([^<]+)</span>", text)
    assert tabs == [("camera0", "3"), ("camera1", "34.5"), ("camera2", "\N{EN DASH}")]
    assert re.search(r'frame=2" +data-key="f"', text), "F leads to the frame after the one shown"


def test_the_worst_region_stands_beside_the_score_of_its_frame_alone(reviewer: Any, line: Any) -> None:
    part = line.part(scores=(3.0, 34.5))
    line.force(f"UPDATE recipe SET content = json_set(content, '$.regions', json('{json.dumps(REGIONS)}'))")
    of_part, of_frame = "highest in</span> <b><bdi>label", "</span> <span>in <bdi>label"
    decisive, other = (reviewer.get(f"/parts/{part}?frame={number}").text for number in (1, 0))
    assert of_part in decisive
    assert of_part not in other, "the part's score is another frame's"
    assert f">3{of_frame}" in other
    assert f">34.5{of_frame}" in decisive


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        (SignalState.CONFIRMED, "confirmed the signal"),
        (SignalState.UNCONFIRMED, "did not confirm the signal"),
    ],
    ids=lambda value: str(value).split()[0],
)
def test_a_part_says_whether_the_gate_confirmed_it(
    state: SignalState, sentence: str, reviewer: Any, line: Any
) -> None:
    assert sentence in reviewer.get(f"/parts/{line.part(signal_state=state)}").text
    assert "<dt>Gate</dt>" not in reviewer.get(f"/parts/{line.part()}").text


def test_a_frame_without_a_map_says_so(reviewer: Any, line: Any) -> None:
    part = line.part()
    line.force("UPDATE frame SET map_sha256 = NULL")
    page = reviewer.get(f"/parts/{part}").text
    assert "No anomaly map was kept" in page
    assert 'id="strength"' not in page
    assert reviewer.get(f"/frames/{_frame(line, part).id}/map.png").status_code == 404


def test_a_map_is_coloured_by_the_recipe_that_judged_its_part(reviewer: Any, line: Any) -> None:
    frame = _frame(line, line.part())
    answer = reviewer.get(f"/frames/{frame.id}/map.png")
    assert answer.status_code == 200
    pixels = _pixels(answer.content)
    assert pixels.shape == (48, 64, 4)
    assert pixels[18, 48, 3] > 150, "the defect is covered"
    assert pixels[40:, :20, 3].max() == 0, "good texture is clear"


def test_a_map_lies_where_its_row_says(reviewer: Any, line: Any) -> None:
    frame = _frame(line, line.part())
    line.force("UPDATE frame SET map_box = '[32, 24, 64, 48]'")
    pixels = _pixels(reviewer.get(f"/frames/{frame.id}/map.png").content)
    assert pixels[:24].max() == 0
    assert pixels[:, :32].max() == 0
    assert pixels[33, 56, 3] > 150, "the defect is covered, in the quarter that the row names"


REGIONS = [
    {"use": "inspect", "name": "face", "polygon": [[0, 0], [64, 0], [64, 48], [0, 48]]},
    {"use": "inspect", "name": "label", "polygon": [[36, 10], [60, 10], [60, 26], [36, 26]]},
    {"use": "inspect", "name": "odd", "polygon": "nothing"},
    {"use": "inspect", "polygon": [[36, 10], [60, 10], [60, 26]]},
    {"use": "ignore", "polygon": [[0, 0], [8, 0], [8, 8]]},
]
FRAME = Box(x=0, y=0, width=64, height=48)


@pytest.mark.parametrize(
    ("row", "column", "name"),
    [(2, 5, "label"), (6, 1, "face")],
    ids=["in both, the smaller", "in one"],
)
def test_the_worst_place_is_in_the_smallest_region_that_holds_it(row: int, column: int, name: str) -> None:
    values = np.ones((8, 8), np.float32)
    values[0, 0] = np.nan
    values[row, column] = 9
    assert worst_region(values, FRAME, named_regions({"regions": REGIONS})) == name


def test_a_place_within_a_cell_of_a_region_is_that_regions() -> None:
    label = named_regions({"regions": REGIONS[1:2]})
    values = np.ones((8, 8), np.float32)
    values[2, 3] = 9  # its middle is at (28, 15), the label begins at 36
    assert worst_region(values, FRAME, label) == "label"
    values[7, 0] = 10
    assert worst_region(values, FRAME, label) is None
    assert worst_region(values, FRAME, ()) is None
    assert worst_region(np.full((2, 2), np.nan, np.float32), FRAME, label) is None


def test_a_part_page_names_the_region_unless_the_part_was_aligned(reviewer: Any, line: Any) -> None:
    part = line.part()
    said = "highest in</span> <b><bdi>label"
    assert said not in reviewer.get(f"/parts/{part}").text
    regions = json.dumps(REGIONS)
    line.force(f"UPDATE recipe SET content = json_set(content, '$.regions', json('{regions}'))")
    assert said in reviewer.get(f"/parts/{part}").text
    line.force("UPDATE frame SET map_box = '[0, 0, 64, 48]'")
    assert said in reviewer.get(f"/parts/{part}").text
    line.force("UPDATE frame SET map_box = '[5, 0, 64, 48]'")
    assert said not in reviewer.get(f"/parts/{part}").text


def _placement(width_px: int = 64, height_px: int = 48, box: Box | None = None) -> Placement:
    whole = Box(x=0, y=0, width=width_px, height=height_px)
    return Placement(width_px=width_px, height_px=height_px, box=box or whole, limits=LIMITS)


def test_cover_grows_with_the_score() -> None:
    levels = np.linspace(0, 60, 61, dtype=np.float32)
    covers = [int(overlay(np.full((2, 2), level, np.float32), _placement())[10, 10, 3]) for level in levels]
    assert covers == sorted(covers)
    assert covers[17] == 0
    assert 0 < covers[21] < covers[25] < covers[30]
    assert covers[30] == covers[60] < 255


def test_a_map_lies_where_the_recipe_judged() -> None:
    box = Box(x=400, y=100, width=200, height=300)
    picture = overlay(np.full((8, 8), 50, np.float32), _placement(800, 600, box))
    ys, xs = np.nonzero(picture[..., 3])
    assert picture.shape == (600, 800, 4)
    assert (xs.min(), xs.max(), ys.min(), ys.max()) == (400, 599, 100, 399)


def test_a_large_frame_has_a_small_overlay_of_its_shape() -> None:
    picture = overlay(np.zeros((8, 8), np.float32), _placement(4000, 3000))
    assert picture.shape == (LONGEST_PX * 3 // 4, LONGEST_PX, 4)


@pytest.mark.parametrize(
    "values",
    [
        pytest.param(np.full((4, 4), np.nan, np.float32), id="no number"),
        pytest.param(np.array([[1, np.inf], [-np.inf, np.nan]], np.float32), id="infinite"),
        pytest.param(np.zeros((1, 1), np.float32), id="one cell"),
        pytest.param(np.full((4, 4), 3e38, np.float32), id="huge"),
    ],
)
@pytest.mark.parametrize("limits", [LIMITS, None, Limits(review=0, reject=0), Limits(review=-5, reject=-1)])
def test_odd_maps_are_drawn(values: Any, limits: Limits | None) -> None:
    placement = Placement(width_px=64, height_px=48, box=Box(x=0, y=0, width=64, height=48), limits=limits)
    assert overlay(values, placement).shape == (48, 64, 4)


@pytest.mark.parametrize("cell", [(0, 0), (3, 1501), (31, 4095), (17, 2048)], ids=str)
def test_a_defect_of_one_cell_shows_where_the_map_is_finer_than_the_picture(cell: tuple[int, int]) -> None:
    """A frame of a line-scan camera, judged in 128 tiles."""
    values = np.zeros((32, 4096), np.float32)
    values[cell] = 100
    picture = overlay(values, _placement(32_768, 256))
    height_px, width_px = picture.shape[:2]
    top, left = cell[0] * height_px // 32, cell[1] * width_px // 4096
    strongest = np.unravel_index(int(picture[..., 3].argmax()), (height_px, width_px))
    assert picture[..., 3].max() > 0
    assert abs(strongest[0] - top) <= 4
    assert abs(strongest[1] - left) <= 4


@pytest.mark.parametrize(
    ("content", "box"),
    [
        pytest.param(None, (0, 0, 100, 80), id="no recipe"),
        pytest.param({"regions": []}, (0, 0, 100, 80), id="no region"),
        pytest.param({"regions": [{"polygon": [[10, 20], [50, 20], [50, 60]]}]}, (10, 20, 40, 40), id="one"),
        pytest.param(
            {"regions": [{"polygon": [[10.6, 20.2], [50.1, 20], [50, 60.5]]}]},
            (10, 20, 41, 41),
            id="outwards",
        ),
        pytest.param(
            {"regions": [{"use": "ignore", "polygon": [[10, 20], [50, 20], [50, 60]]}]},
            (0, 0, 100, 80),
            id="ignore",
        ),
        pytest.param(
            {"regions": [{"camera_id": "side", "polygon": [[10, 20], [50, 20], [50, 60]]}]},
            (0, 0, 100, 80),
            id="of another camera",
        ),
        pytest.param(
            {"regions": [{"polygon": [["x", 1], None]}, 7, {"a": "b"}]}, (0, 0, 100, 80), id="nonsense"
        ),
        pytest.param({"regions": {"later": "form"}}, (0, 0, 100, 80), id="of a later version"),
    ],
)
def test_what_a_recipe_judges(content: Any, box: tuple[int, ...]) -> None:
    found = inspected_box(content, "top", width_px=100, height_px=80)
    assert (found.x, found.y, found.width, found.height) == box


@pytest.mark.parametrize(
    ("content", "limits"),
    [
        ({"thresholds": {"review": 20, "reject": 30, "later": 1}, "more": {}}, LIMITS),
        ({"thresholds": {"review": "20", "reject": 30}}, None),
        ({"thresholds": {"review": float("nan"), "reject": 30}}, None),
        ({"thresholds": [20, 30]}, None),
        ({}, None),
        (None, None),
    ],
)
def test_thresholds_are_read_leniently(content: Any, limits: Limits | None) -> None:
    assert limits_in(content) == limits


@pytest.mark.parametrize(
    "limits",
    [
        LIMITS,
        Limits(review=-8, reject=-2),
        Limits(review=0, reject=0),
        Limits(review=1e9, reject=1e9),
        Limits(review=25.75, reject=26.61),
    ],
)
@pytest.mark.parametrize(
    "score",
    [
        None,
        float("nan"),
        float("inf"),
        -1e12,
        0.0,
        19.9999,
        20.0,
        25.7499,
        26,
        26.6099,
        28.61,
        29.9999,
        30.0,
        1e12,
    ],
)
def test_a_score_stands_on_its_side_of_the_thresholds(score: float | None, limits: Limits) -> None:
    drawn = gauge(score, limits)
    assert drawn.reject_x - drawn.review_x >= 64, "what is written below them does not touch"
    if drawn.score_x is None:
        assert score is None or not np.isfinite(score)
        return
    assert score is not None
    assert 0 <= drawn.score_x <= WIDTH
    assert (drawn.score_x >= drawn.review_x) == (score >= limits.review)
    assert (drawn.score_x >= drawn.reject_x) == (score >= limits.reject)
    # The mark is seen as a whole, and stands on no threshold.
    assert all(abs(drawn.score_x - x) >= MARK_X for x in (0, drawn.review_x, drawn.reject_x, WIDTH))


def test_parts_of_a_recipe_share_a_scale() -> None:
    assert gauge(21.0, LIMITS).reject_x == gauge(5000.0, LIMITS).reject_x
    assert gauge(5000.0, LIMITS).beyond
    assert not gauge(21.0, LIMITS).beyond


def test_opencv_reads_back_what_is_sent(line: Any) -> None:
    sha256 = line.image(3, (30, 40, 3))
    decoded = cv2.imdecode(np.frombuffer(Pictures(line.images).full(sha256), np.uint8), cv2.IMREAD_COLOR_RGB)
    assert decoded is not None
    assert np.array_equal(decoded, line.images.get(sha256))
