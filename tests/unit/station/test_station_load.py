"""Every way a station file can be wrong, and the sentence it gets (rows B01-B04, B07-B09, B11)."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from partgate_station import (
    ConfigError,
    FolderCamera,
    GenicamCamera,
    IntervalTrigger,
    MissingInput,
    OpenVino,
    VirtualCamera,
    load_recipe,
    load_station,
)

CAMERA = '[[cameras]]\nkind = "virtual"\ncamera_id = "top"\n'
LINE_CAMERA = '[[cameras]]\nkind = "genicam"\ncamera_id = "side"\nproducer = "x.cti"\ntrigger = "line"\n'
GOOD = f'schema_version = 1\nstation_id = "one"\n{CAMERA}'
EXAMPLES = Path(__file__).parents[3] / "station_config"


def write(folder: Path, content: str | bytes) -> Path:
    path = folder / "station.toml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@dataclass(frozen=True)
class Bad:
    name: str
    content: str | bytes
    says: tuple[str, ...]


BAD = [
    Bad(
        "B03 an output that nobody knows",
        f'station_id = "a"\n{CAMERA}[output]\nkind = "profinet"\n',
        ("output.kind: got \"profinet\", expected one of 'simulator', 'none'",),
    ),
    Bad(
        "B02 B03 an output's keys",
        f'station_id = "a"\n{CAMERA}[output]\nkind = "simulator"\nconfirm_s = 1\nloss = 2\n',
        ("output.confirm_s: unknown setting (did you mean confirm_ms?)", "output.loss: got 2, expected"),
    ),
    Bad(
        "an output that is never asked again",
        f'station_id = "a"\n{CAMERA}[output]\nkind = "simulator"\nconfirm_ms = 10\n',
        ("output: resend_ms (20) is more than confirm_ms (10)",),
    ),
    Bad(
        "two cameras of one producer, of which one names no device",
        f'station_id = "a"\n{LINE_CAMERA}latest_ms = 5\n{LINE_CAMERA.replace("side", "top")}'
        'latest_ms = 5\nserial_number = "7"\n[trigger]\nkind = "digital_input"\n',
        ("cameras[0].serial_number: required where cameras[1] is of the producer 'x.cti' as well",),
    ),
    Bad(
        "two cameras of one producer by two paths, of which none names a device",
        f'station_id = "a"\n{LINE_CAMERA}latest_ms = 5\n'
        f"{LINE_CAMERA.replace('side', 'top').replace('x.cti', '/opt/x.cti')}latest_ms = 5\n"
        '[trigger]\nkind = "digital_input"\n',
        ("cameras[0].serial_number: required where", "cameras[1].serial_number: required where"),
    ),
    Bad(
        "a line's camera that the trigger knows nothing of",
        f'station_id = "a"\n{LINE_CAMERA}[trigger]\nkind = "interval"\nperiod_s = 1\n',
        ("cameras[0].trigger: camera 'side' exposes at its line's edges, which trigger.kind 'interval'",),
    ),
    Bad(
        "a line's camera without a window",
        f'station_id = "a"\n{LINE_CAMERA}[trigger]\nkind = "digital_input"\n',
        ("cameras[0].latest_ms: required for camera 'side' behind a trigger line",),
    ),
    Bad(
        "B08 a triggering camera that is not there",
        f'station_id = "a"\n{CAMERA}[trigger]\nkind = "camera"\ncamera_id = "tip"\n',
        ("trigger.camera_id: there is no camera 'tip' (cameras: top)",),
    ),
    Bad(
        "a triggering camera without a line",
        f'station_id = "a"\n{CAMERA}[trigger]\nkind = "camera"\ncamera_id = "top"\n',
        ("trigger.camera_id: camera 'top' must be a genicam one with trigger = 'line'",),
    ),
    Bad(
        "the trigger said twice",
        f'station_id = "a"\n{LINE_CAMERA}features = {{ TriggerMode = "On" }}\n',
        ("cameras[0]: give trigger or features.TriggerMode, not both",),
    ),
    Bad(
        "a window that ends before it begins",
        f'station_id = "a"\n{LINE_CAMERA}earliest_ms = 30\nlatest_ms = 20\n',
        ("cameras[0]: latest_ms (20) is before earliest_ms (30)",),
    ),
    Bad(
        "B02 unknown key of a trigger",
        f'station_id = "a"\n{CAMERA}[trigger]\nkind = "digital_input"\ndebounce_s = 1\n',
        ("trigger.debounce_s: unknown setting (did you mean debounce_ms?)",),
    ),
    Bad(
        "B01 syntax",
        'station_id = "a"\nname \n',
        ("station.toml:2:6: invalid TOML: expected '=' after a key",),
    ),
    Bad(
        "B02 unknown key",
        f'station_id = "a"\nnaem = "x"\n{CAMERA}',
        ("station.toml: naem: unknown setting (did you mean name?)",),
    ),
    Bad(
        "B02 unknown key of a camera",
        f'station_id = "a"\n{CAMERA}sead = 3\n',
        ("station.toml: cameras[0].sead: unknown setting (did you mean seed?)",),
    ),
    Bad(
        "B02 unknown key in a table",
        f'station_id = "a"\n{CAMERA}[records]\nimage = "all"\n',
        ("station.toml: records.image: unknown setting (did you mean images?)",),
    ),
    Bad(
        "B03 a share of the disk",
        f'station_id = "a"\n{CAMERA}[records]\nroom_share = 0.6\n',
        ("records.room_share: got 0.6, expected less than or equal to 0.5",),
    ),
    Bad(
        "B03 all at once",
        f'station_id = "A b"\nproduct = 5\n{CAMERA}defect_rate = -5\nsize_px = "big"\n',
        (
            'station_id: got "A b", expected',
            "product: got 5, expected string",
            "cameras[0].defect_rate: got -5, expected greater than or equal to 0",
            'cameras[0].size_px: got "big", expected integer',
        ),
    ),
    Bad(
        "B03 kind",
        'station_id = "a"\n[[cameras]]\nkind = "webcam"\n',
        ("cameras[0].kind: got \"webcam\", expected one of 'genicam', 'folder', 'video', 'virtual'",),
    ),
    Bad("B03 no kind", 'station_id = "a"\n[[cameras]]\ncamera_id = "a"\n', ("cameras[0].kind: required",)),
    Bad("B03 no cameras", 'station_id = "a"\ncameras = []\n', ("cameras: got [], expected",)),
    Bad(
        "B04 not a number",
        f'station_id = "a"\n{CAMERA}[trigger]\nkind = "interval"\nperiod_s = nan\n',
        ("trigger.period_s: nan is not allowed",),
    ),
    Bad(
        "B04 infinite",
        f'station_id = "a"\n{CAMERA}[trigger]\nkind = "interval"\nperiod_s = inf\n',
        ("trigger.period_s: inf is not allowed",),
    ),
    Bad(
        "B03 openvino",
        f'station_id = "a"\n{CAMERA}[openvino]\nprecision = "int8"\nmode = "fast"\nthreads = 0\n',
        (
            "openvino.precision: got \"int8\", expected 'auto', 'f32' or 'bf16'",
            "openvino.mode: got \"fast\", expected 'auto', 'latency' or 'throughput'",
            "openvino.threads: got 0, expected greater than or equal to 1",
        ),
    ),
    Bad("B07 UTF-16", GOOD.encode("utf-16"), ("not UTF-8 (looks like UTF-16)",)),
    Bad("B07 Latin-1", b'station_id = "a"\nname = "\xe4"\n', ("station.toml:2: not UTF-8 (byte 0xe4)",)),
    Bad("B07 empty", "", ("the file is empty; it needs at least: station_id, cameras",)),
    Bad(
        "B08 one id twice",
        f'station_id = "a"\n{CAMERA}{CAMERA}',
        ("cameras[1].camera_id: 'top' is already the camera_id of cameras[0]",),
    ),
    Bad(
        "B09 missing folder",
        'station_id = "a"\n[[cameras]]\nkind = "folder"\ncamera_id = "a"\nfolder = "nowhere"\n',
        ("cameras[0].folder: ", "/nowhere does not exist"),
    ),
    Bad(
        "B09 a file where a folder is needed",
        'station_id = "a"\n[[cameras]]\nkind = "folder"\ncamera_id = "a"\nfolder = "station.toml"\n',
        ("station.toml is a file, expected a folder",),
    ),
    Bad(
        "B11 newer schema",
        f"schema_version = 7\n{GOOD}"[0:18] + "\nx = 1\n",
        ("schema 7 is newer than this program (1)",),
    ),
    Bad(
        "both ways to choose a camera",
        'station_id = "a"\n[[cameras]]\nkind = "genicam"\ncamera_id = "a"\nproducer = "v.cti"\n'
        'serial_number = "1"\nuser_defined_name = "2"\n',
        ("give serial_number or user_defined_name, not both",),
    ),
]


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.name)
def test_a_bad_station_file_says_all_that_is_wrong(bad: Bad, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_station(write(tmp_path, bad.content))
    for says in bad.says:
        assert says in str(caught.value)
    assert caught.value.exit_code == 78


def test_a_missing_file_is_named_with_its_absolute_path(tmp_path: Path) -> None:
    with pytest.raises(MissingInput, match=str(tmp_path / "no.toml")):
        load_station(tmp_path / "no.toml")


def test_bom_and_crlf_are_accepted(tmp_path: Path) -> None:
    station = load_station(write(tmp_path, b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode()))
    assert station.station_id == "one"
    assert isinstance(station.cameras[0], VirtualCamera)


def test_a_folder_counts_from_the_station_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    path = write(
        tmp_path, 'station_id = "a"\n[[cameras]]\nkind = "folder"\ncamera_id = "a"\nfolder = "images"\n'
    )
    camera = load_station(path).cameras[0]
    assert isinstance(camera, FolderCamera)
    assert camera.folder == tmp_path / "images"


def test_the_examples_load() -> None:
    virtual = load_station(EXAMPLES / "stations" / "virtual.toml")
    simulator = load_station(EXAMPLES / "stations" / "genicam_simulator.toml")
    assert isinstance(virtual.trigger, IntervalTrigger)
    assert isinstance(simulator.cameras[0], GenicamCamera)
    assert load_recipe(EXAMPLES / "recipes" / "example.toml").deadline_ms == 500


def test_how_the_cpu_judges_may_be_said(tmp_path: Path) -> None:
    said = '[openvino]\nprecision = "bf16"\nmode = "latency"\nthreads = 3\n'
    assert load_station(write(tmp_path, GOOD)).openvino == OpenVino(
        precision="auto", mode="auto", threads=None
    )
    assert load_station(write(tmp_path, GOOD + said)).openvino == OpenVino(
        precision="bf16", mode="latency", threads=3
    )
