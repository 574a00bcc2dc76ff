"""Region and binning: set in a GenICam camera in the right order, or cut out of other pictures."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from partgate.fitness._cameras import look_at_camera
from partgate_cameras import FeatureError, FrameFormatError, draw_part, make_camera
from partgate_cameras._cropped import Cropped
from partgate_cameras._genicam_region import check_picture, set_picture
from partgate_station import FolderCamera, GenicamCamera, VideoCamera, VirtualCamera, load_station
from video_files import numbered, write_video

SENSOR = {"X": 640, "Y": 480}


def feature(name: str, other: str, axis: str, *, start: int, low: int, step: int) -> str:
    """Return an integer whose maximum is what binning and `other` leave of the sensor."""
    side = "Horizontal" if axis == "X" else "Vertical"
    return f"""
    <Integer Name="{name}Value"><Value>{start}</Value></Integer>
    <IntSwissKnife Name="{name}Max"><pVariable Name="B">Binning{side}</pVariable>
        <pVariable Name="O">{other}Value</pVariable><Formula>({SENSOR[axis]} / B) - O</Formula>
    </IntSwissKnife>
    <Integer Name="{name}"><pValue>{name}Value</pValue><Min>{low}</Min><pMax>{name}Max</pMax>
        <Inc>{step}</Inc></Integer>"""


HEAD = """<?xml version="1.0" encoding="utf-8"?>
<RegisterDescription ModelName="Area" VendorName="test" StandardNameSpace="None" SchemaMajorVersion="1"
    SchemaMinorVersion="1" SchemaSubMinorVersion="0" MajorVersion="1" MinorVersion="0" SubMinorVersion="0"
    ToolTip="" ProductGuid="1" VersionGuid="1" xmlns="http://www.genicam.org/GenApi/Version_1_1"
    xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
    <Category Name="Root" NameSpace="Standard"><pFeature>Width</pFeature></Category>"""


def sensor(*, offsets: bool = True, binning: bool = True, offset_x: int = 0) -> Any:
    """Return the node map of a camera of 640×480 px, whose width comes in steps of 16: GenApi's own."""
    from genicam.genapi import NodeMap

    most = 4 if binning else 1
    nodes = [
        f'<Integer Name="Binning{side}"><Value>1</Value><Min>1</Min><Max>{most}</Max></Integer>'
        for side in ("Horizontal", "Vertical")
    ]
    nodes.append(feature("Width", "OffsetX", "X", start=640 - offset_x, low=16, step=16))
    nodes.append(feature("Height", "OffsetY", "Y", start=480, low=2, step=2))
    nodes.append(feature("OffsetX", "Width", "X", start=offset_x, low=0, step=4))
    nodes.append(feature("OffsetY", "Height", "Y", start=0, low=0, step=2))
    text = HEAD + "".join(nodes) + "</RegisterDescription>"
    if not offsets:
        text = text.replace('Name="OffsetX"', 'Name="NoX"').replace('Name="OffsetY"', 'Name="NoY"')
    found = NodeMap()
    found.load_xml_from_string(text)
    return found


def config(**settings: object) -> GenicamCamera:
    return GenicamCamera.model_validate(
        {"kind": "genicam", "camera_id": "top", "producer": "viky.cti"} | settings
    )


def region(x_px: int, y_px: int, width_px: int, height_px: int) -> dict[str, int]:
    return {"x_px": x_px, "y_px": y_px, "width_px": width_px, "height_px": height_px}


def picture(nodes: Any) -> tuple[int, int, int, int]:
    return nodes.OffsetX.value, nodes.OffsetY.value, nodes.Width.value, nodes.Height.value


def test_a_region_is_set_and_the_camera_has_it() -> None:
    nodes = sensor()
    set_picture(nodes, config(region=region(100, 50, 320, 200)))
    assert picture(nodes) == (100, 50, 320, 200)


def test_a_region_of_before_does_not_stand_in_the_way() -> None:
    """With the old offset, 640 is too wide; with the old width, an offset of 480 is too far."""
    nodes = sensor(offset_x=320)
    set_picture(nodes, config(region=region(0, 0, 640, 480)))
    assert picture(nodes) == (0, 0, 640, 480)
    set_picture(nodes, config(region=region(480, 0, 160, 480)))
    assert picture(nodes) == (480, 0, 160, 480)


def test_binning_comes_before_the_region_which_counts_binned_pixels() -> None:
    nodes = sensor()
    set_picture(nodes, config(binning=2, region=region(60, 40, 256, 200)))
    assert (nodes.BinningHorizontal.value, nodes.BinningVertical.value) == (2, 2)
    assert picture(nodes) == (60, 40, 256, 200)
    with pytest.raises(FeatureError, match="feature Width: requested 640, allowed is 16 to 320 in steps"):
        set_picture(nodes, config(binning=2, region=region(0, 0, 640, 480)))


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ((0, 0, 330, 200), "feature Width: requested 330, allowed is 16 to 640 in steps of 16"),
        ((0, 0, 320, 201), "feature Height: requested 201, allowed is 2 to 480 in steps of 2"),
        ((0, 0, 8, 200), "feature Width: requested 8, allowed is 16 to 640 in steps of 16"),
        ((0, 0, 656, 200), "feature Width: requested 656, allowed is 16 to 640 in steps of 16"),
        ((101, 0, 320, 200), "feature OffsetX: requested 101, allowed is 0 to 320 in steps of 4"),
        ((324, 0, 320, 200), "feature OffsetX: requested 324, allowed is 0 to 320 in steps of 4"),
        ((0, 300, 320, 200), "feature OffsetY: requested 300, allowed is 0 to 280 in steps of 2"),
    ],
)
def test_nothing_is_rounded(wanted: tuple[int, int, int, int], says: str) -> None:
    with pytest.raises(FeatureError, match=says):
        set_picture(sensor(), config(region=region(*wanted)))


def test_binning_that_the_camera_cannot_do_is_named() -> None:
    with pytest.raises(FeatureError, match="feature BinningHorizontal: requested 2, allowed is 1 to 1"):
        set_picture(sensor(binning=False), config(binning=2))


def test_a_camera_without_offsets_takes_a_region_from_its_corner_only() -> None:
    nodes = sensor(offsets=False)
    set_picture(nodes, config(region=region(0, 0, 320, 200)))
    assert (nodes.Width.value, nodes.Height.value) == (320, 200)
    with pytest.raises(FeatureError, match="feature OffsetX: the camera has none of that name"):
        set_picture(nodes, config(region=region(4, 0, 320, 200)))


def test_a_feature_that_changes_the_region_afterwards_is_found() -> None:
    nodes, wanted = sensor(), config(region=region(0, 0, 320, 200))
    set_picture(nodes, wanted)
    check_picture(nodes, wanted)
    nodes.Width.value = 160
    with pytest.raises(FeatureError, match="feature Width: requested 320, and 160 when the other features"):
        check_picture(nodes, wanted)


def test_without_either_nothing_is_touched() -> None:
    nodes = sensor(offset_x=320)
    set_picture(nodes, config())
    assert picture(nodes) == (320, 0, 320, 480)


def test_the_simulator_gives_frames_of_the_region() -> None:
    camera = make_camera(config(region=region(0, 0, 320, 200), features={"PixelFormat": "Mono8"}))
    camera.open()
    try:
        assert camera.grab(10).image.shape == (200, 320)
    finally:
        camera.close()


def test_the_simulator_says_what_it_cannot_do() -> None:
    for settings, says in (
        ({"region": region(0, 0, 90, 200)}, "feature Width: requested 90, allowed is 100 to 800"),
        ({"region": region(8, 0, 320, 200)}, "feature OffsetX: the camera has none of that name"),
        ({"binning": 2}, "feature BinningHorizontal: the camera has none of that name"),
    ):
        with pytest.raises(FeatureError, match=says):
            make_camera(config(**settings)).open()


def test_check_says_it_too() -> None:
    check, seen = look_at_camera(config(region=region(0, 0, 320, 200)))
    assert (check.state, seen is not None) == ("ok", True)
    assert "320×200" in check.value
    check, seen = look_at_camera(config(region=region(0, 0, 90, 200)))
    assert "feature Width: requested 90, allowed is 100 to 800" in check.value
    assert seen is None


@pytest.mark.parametrize("setting", ["region", "binning"])
def test_what_is_set_twice_is_refused(tmp_path: Path, setting: str) -> None:
    twice = "binning = 2" if setting == "binning" else "region = {width_px = 320, height_px = 200}"
    name = "BinningVertical" if setting == "binning" else "Width"
    path = tmp_path / "station.toml"
    path.write_text(
        f'station_id = "one"\n[[cameras]]\nkind = "genicam"\ncamera_id = "top"\nproducer = "x.cti"\n{twice}\n'
        f"[cameras.features]\n{name} = 2\n"
    )
    with pytest.raises(Exception, match=f"give {setting} or features.{name}, not both"):
        load_station(path)


def test_a_region_of_a_drawn_part_is_cut_out() -> None:
    whole = VirtualCamera(kind="virtual", camera_id="top", size_px=96, seed=3)
    part = VirtualCamera.model_validate({**whole.model_dump(), "region": region(10, 20, 64, 48)})
    camera = make_camera(part, start_at=5)
    camera.open()
    frame = camera.grab(1)
    camera.close()
    np.testing.assert_array_equal(frame.image, draw_part(whole, 5).image[20:68, 10:74])
    assert (frame.frame_id, camera.exhausted, camera.camera_id) == (5, False, "top")


def test_a_region_of_files_and_videos_is_cut_out(tmp_path: Path) -> None:
    import cv2

    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "1.png"), pixels[..., ::-1])
    write_video(tmp_path / "v.mkv", numbered(2))
    cut = region(4, 8, 20, 16)
    folder = FolderCamera.model_validate(
        {"kind": "folder", "camera_id": "top", "folder": tmp_path, "region": cut}
    )
    video = VideoCamera.model_validate(
        {"kind": "video", "camera_id": "top", "source": str(tmp_path / "v.mkv"), "region": cut}
    )
    for settings, expected in ((folder, pixels), (video, numbered(1)[0])):
        camera = make_camera(settings)
        camera.open()
        np.testing.assert_array_equal(camera.grab(1).image, expected[8:24, 4:24])
        camera.close()


def test_a_region_outside_the_picture_is_refused_and_named() -> None:
    outside = VirtualCamera.model_validate(
        {"kind": "virtual", "camera_id": "top", "size_px": 96, "region": region(64, 0, 64, 48)}
    )
    camera = make_camera(outside)
    assert isinstance(camera, Cropped)
    camera.open()
    with pytest.raises(FrameFormatError, match=r"is 96×96, and the region 64×48 from \(64, 0\) does not lie"):
        camera.grab(1)
    camera.close()
