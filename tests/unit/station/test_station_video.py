"""Video cameras in the station file."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from partgate_station import ConfigError, VideoCamera, load_station

HEAD = 'station_id = "one"\n[[cameras]]\nkind = "video"\ncamera_id = "top"\n'


def load(tmp_path: Path, settings: str) -> VideoCamera:
    path = tmp_path / "station.toml"
    path.write_text(HEAD + settings)
    (camera,) = load_station(path).cameras
    assert isinstance(camera, VideoCamera)
    return camera


def test_paths_count_from_the_station_file(tmp_path: Path) -> None:
    (tmp_path / "parts.mkv").touch()
    camera = load(tmp_path, 'source = "parts.mkv"')
    assert camera.source == str(tmp_path / "parts.mkv")
    assert not camera.is_live
    (tmp_path / "secret").touch(mode=0o600)
    camera = load(tmp_path, 'source = "rtsp://a@h/x"\npassword_file = "secret"')
    assert camera.password_file == tmp_path / "secret"


@pytest.mark.parametrize(
    ("source", "live", "shown"),
    [
        ("/dev/video0", True, "/dev/video0"),
        ("rtsp://10.0.0.7/stream1", True, "rtsp://10.0.0.7/stream1"),
        ("rtsp://viewer:geheim@10.0.0.7:554/s?token=geheim", True, "rtsp://viewer@10.0.0.7:554/s"),
        ("rtsp://10.0.0.7/user=a_password=geheim_channel=1", True, "rtsp://10.0.0.7/user=a_password=***"),
        ("http://:geheim@h/x", True, "http://@h/x"),
    ],
)
def test_what_is_shown_of_a_source(source: str, live: bool, shown: str) -> None:
    camera = VideoCamera(kind="video", camera_id="top", source=source)
    assert (camera.is_live, camera.shown) == (live, shown)
    assert "geheim" not in repr(camera)


@dataclass(frozen=True)
class Bad:
    settings: str
    says: str


BAD = {
    "no source": Bad("", "cameras[0].source: required, but not there"),
    "missing file": Bad('source = "none.mkv"', "cameras[0].source: "),
    "a folder": Bad('source = "."', "is a folder"),
    "scheme": Bad('source = "ftp://h/x"', "source: ftp:// is not known; allowed are http, https"),
    "repeat of a stream": Bad('source = "tcp://h:1"\nrepeat = true', "repeat and pace are of a file"),
    "frozen after one": Bad('source = "tcp://h:1"\nfrozen_after = 1', "give 2 or more, or 0 for never"),
    "window": Bad('source = "tcp://h:1"\nearliest_ms = 9\nlatest_ms = 5', "latest_ms (5) is before"),
    "two passwords": Bad(
        'source = "rtsp://a:geheim@h/x"\npassword_file = "p"', "password_file needs a source with a name"
    ),
    "no password file": Bad('source = "rtsp://a@h/x"\npassword_file = "p"', "cameras[0].password_file: "),
    "unknown": Bad(
        'source = "tcp://h:1"\nsorce = 1', "cameras[0].sorce: unknown setting (did you mean source?)"
    ),
    "binning": Bad('source = "tcp://h:1"\nbinning = 2', "cameras[0].binning: unknown setting"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_named_and_no_password_is_shown(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, BAD[name].settings)
    assert BAD[name].says in str(caught.value)
    assert "geheim" not in str(caught.value)
