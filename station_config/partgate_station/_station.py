"""The station file: which cameras, which trigger, which product, which runtime."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from partgate_station._camera_region import CameraRegion
from partgate_station._model import FileModel, Name
from partgate_station._video import VideoCamera

SCHEMA_VERSION = 1

FeatureValue = str | int | float | bool


class GenicamCamera(FileModel):
    """A GenICam camera, reached through a GenTL producer (a `.cti` file)."""

    kind: Literal["genicam"]
    camera_id: Name

    producer: str
    """A producer's file name, looked for in GENICAM_GENTL64_PATH and in the `genicam` package, or a
    path to one. `viky.cti` is the simulator that comes with `genicam`."""

    serial_number: str | None = None
    """The camera with this serial number. Without it and without `user_defined_name`, the first there is when
    the station starts, and that one for as long as the station runs."""

    user_defined_name: str | None = None
    """The camera with this user-defined name."""

    features: dict[str, FeatureValue] = Field(default_factory=dict)
    """GenICam features by name, set in this order and read back."""

    region: CameraRegion | None = None
    """The part of the sensor that is read out, set in the camera: the rest costs neither time nor cable.
    Without it, what the camera is set to."""

    binning: int | None = Field(default=None, ge=1, le=16)
    """So many pixels of the sensor, across and down, become one, set in the camera; 1: each by itself.
    Without it, what the camera is set to."""

    frozen_after: int = Field(default=3, ge=0, le=1000)
    """So many frames in a row with the same bytes, and the camera is taken for frozen: the part is
    UNDECIDED, as is every part until a frame differs. A sensor's noise never repeats. 0 never."""

    trigger: Literal["software", "line", "free"] | None = None
    """What makes the camera expose: the station (`software`), an edge at `trigger_line` (`line`), or
    nothing (`free`: it runs, and the next frame is taken). Without it the features say so themselves."""

    trigger_line: str = "Line0"
    """The camera's name for the input that its trigger comes in at; for `line`."""

    earliest_ms: float = Field(default=0, ge=-10_000, le=60_000)
    """How long after its trigger a frame arrives at the earliest: exposure and transfer. Negative: before
    the frame of the camera that is the station's trigger."""

    latest_ms: float | None = Field(default=None, gt=0, le=60_000)
    """And at the latest; a frame outside is no part's. Required behind a trigger line, unless the camera
    is the station's trigger itself. Without it, until the recipe's deadline."""

    @property
    def names_device(self) -> bool:
        """Whether the file says which device it is."""
        return self.serial_number is not None or self.user_defined_name is not None

    @property
    def is_line_triggered(self) -> bool:
        """Whether frames come by themselves, one at each edge of a line."""
        if self.trigger is not None:
            return self.trigger == "line"
        source = self.features.get("TriggerSource", "Software")
        return self.features.get("TriggerMode") == "On" and source != "Software"

    @model_validator(mode="after")
    def _triggered_once(self) -> Self:
        own = {"TriggerMode", "TriggerSource", "TriggerSelector"} & set(self.features)
        if self.trigger is not None and own:
            raise ValueError(f"give trigger or features.{min(own)}, not both")
        if self.latest_ms is not None and self.latest_ms < self.earliest_ms:
            raise ValueError(f"latest_ms ({self.latest_ms:g}) is before earliest_ms ({self.earliest_ms:g})")
        return self

    @model_validator(mode="after")
    def _picture_chosen_once(self) -> Self:
        own = {"region": ("Width", "Height", "OffsetX", "OffsetY"),
               "binning": ("BinningHorizontal", "BinningVertical")}  # fmt: skip
        for setting, features in own.items():
            twice = [name for name in features if name in self.features]
            if getattr(self, setting) is not None and twice:
                raise ValueError(f"give {setting} or features.{twice[0]}, not both")
        return self

    @field_validator("frozen_after")
    @classmethod
    def _more_than_one(cls, frames: int) -> int:
        if frames == 1:
            raise ValueError("a single frame repeats nothing: give 2 or more, or 0 for never")
        return frames

    @model_validator(mode="after")
    def _chosen_once(self) -> Self:
        if self.serial_number is not None and self.user_defined_name is not None:
            raise ValueError("give serial_number or user_defined_name, not both")
        return self


class FolderCamera(FileModel):
    """Images on disk, one per trigger, in the order of their names."""

    kind: Literal["folder"]
    camera_id: Name

    folder: Path
    """Searched with its sub-folders. Relative to the station file."""

    repeat: bool = False
    """Begin again after the last image; otherwise the station stops there."""

    region: CameraRegion | None = None
    """What is cut from every image."""


class VirtualCamera(FileModel):
    """A drawn line: parts cut from a photograph of a texture, some with a defect drawn on."""

    kind: Literal["virtual"]
    camera_id: Name

    texture: Literal["brick", "grass", "gravel"] = "brick"
    seed: int = Field(default=0, ge=0)
    """The same seed draws the same parts."""

    size_px: int = Field(default=256, ge=64, le=448)
    """Width and height of a part's frame."""

    defect_rate: float = Field(default=0.1, ge=0, le=1)
    """The share of parts that get a defect."""

    light_fails_at: int | None = Field(default=None, ge=0)
    """The number of the part at which the light fails, to see what the station does."""

    region: CameraRegion | None = None
    """What is cut from every part's frame."""

    light_fails_for: int = Field(default=20, ge=1, le=1_000_000)
    """After so many parts it is back."""


Camera = Annotated[GenicamCamera | FolderCamera | VideoCamera | VirtualCamera, Field(discriminator="kind")]


class IntervalTrigger(FileModel):
    """A part every so often."""

    kind: Literal["interval"]
    period_s: float = Field(gt=0, le=3600)


class ContinuousTrigger(FileModel):
    """The next part as soon as the last one has its verdict."""

    kind: Literal["continuous"]
    waiting_parts: int = Field(default=0, ge=0, le=16)
    """Parts that stand behind the one that is judged, whose frames are taken meanwhile: more parts in an
    hour, each with a longer way from its trigger to its verdict."""


class CameraTrigger(FileModel):
    """A part at each frame of a camera, whose line says when a part is there."""

    kind: Literal["camera"]
    camera_id: Name
    """A GenICam camera with `trigger = "line"`. The frames of the others are matched to its frames."""

    delay_ms: float = Field(default=0, ge=0, le=60_000)
    """From the edge at the camera's line to the arrival of its frame: exposure and transfer. A part's
    deadline and latency count from the arrival less this."""


class DigitalInputTrigger(FileModel):
    """A part at each edge of a digital input."""

    kind: Literal["digital_input"]
    device: Literal["simulated"] = "simulated"
    """`simulated`: an input in this program, whose edges come every `simulated_period_s`."""

    debounce_ms: float = Field(default=5, ge=0, le=10_000)
    """An edge so soon after the last one is the same edge, bouncing; it is counted, and no part."""

    waiting_parts: int = Field(default=64, ge=1, le=10_000)
    """Triggers that may wait while a part is in work. Each one beyond is UNDECIDED (TRIGGER_OVERRUN)."""

    simulated_period_s: float | None = Field(default=None, gt=0, le=3600)
    """How often the simulated input has an edge; without it, only when a program fires one."""


Trigger = Annotated[
    IntervalTrigger | ContinuousTrigger | CameraTrigger | DigitalInputTrigger, Field(discriminator="kind")
]


class Records(FileModel):
    """What the station keeps."""

    images: Literal["all", "flagged"] = "all"
    """`flagged`: frames of accepted parts are not kept."""

    room_share: float = Field(default=0.1, ge=0, le=0.5)
    """The share of the images' disk that is kept free: where less is, the images of the oldest accepted
    parts go. 0: none is ever removed."""


class OpenVino(FileModel):
    """How the CPU judges, where the runtime is OpenVINO."""

    precision: Literal["auto", "f32", "bf16"] = "auto"
    """`auto` measures once for each model and takes the fastest that passes the parity gate."""

    mode: Literal["auto", "latency", "throughput"] = "auto"
    """`latency` gives all cores to one frame, `throughput` judges several frames side by side; `auto`
    is `throughput` where the station has several cameras."""

    threads: int | None = Field(default=None, ge=1, le=1024)
    """Cores to judge with at most. Without it, all that the station may use."""


class Judging(FileModel):
    """What of the machine belongs to judging."""

    cores: int = Field(default=0, ge=0, le=1024)
    """So many cores, with all of their hyperthreads, run the loop and the model, and nothing else of the
    station; cameras, recorder and all other threads have the rest. 0: everything runs everywhere."""


class ImageHealth(FileModel):
    """When frames that do not look as those the product was learned from are a station alarm.

    While there is one, parts are UNDECIDED: a lamp that fails is no reason to reject good parts one by one.
    """

    watch: tuple[Literal["brightness", "focus", "position", "shape"], ...] = (
        "brightness", "focus", "position", "shape",
    )  # fmt: skip
    """Which measures count; `shape` is size, and grey or colour. Empty: all are measured, and none counts."""

    margin: float = Field(default=1.0, gt=0, le=100)
    """How far a measure may lie beyond what was seen among the good images, in multiples of how far they
    differ from each other; of a tenth of the light, half as sharp, or 2 % of the frame, where they hardly
    differ."""

    trip_frames: int = Field(default=3, ge=1, le=1000)
    """So many of a camera's last `of_frames` frames outside are an alarm."""

    of_frames: int = Field(default=5, ge=1, le=1000)
    resume_frames: int = Field(default=5, ge=1, le=1000)
    """So many of its frames inside, one after the other, end the alarm."""

    @model_validator(mode="after")
    def _can_trip(self) -> Self:
        if self.trip_frames > self.of_frames:
            raise ValueError(f"trip_frames ({self.trip_frames}) is more than of_frames ({self.of_frames})")
        return self


class Health(FileModel):
    """Where programs that watch the station ask how it is: `/live`, `/ready` and `/metrics`."""

    port: int = Field(ge=0, le=65535)
    """0 takes a free one, which the log names."""

    host: str = Field(default="127.0.0.1", min_length=1)
    """The address to listen on; 0.0.0.0 for all the machine has. Whoever reaches it may read: there is no
    password, and nothing can be changed."""


class SimulatedOutput(FileModel):
    """A gate in this program: verdicts are sent and confirmed as for a real one, and no part is moved."""

    kind: Literal["simulator"]

    confirm_ms: float = Field(default=100, ge=1, le=10_000)
    """For so long a signal may take to be confirmed. One that is not leaves the gate shut whatever the
    verdict; the part's row says so, and the station is not ready until the gate has answered again."""

    resend_ms: float = Field(default=20, ge=1, le=10_000)
    """Without a confirmation for so long, the signal is sent again, the same."""

    latency_ms: float = Field(default=0, ge=0, le=10_000)
    """What the gate takes to answer."""

    loss: float = Field(default=0, ge=0, le=1)
    """The share of messages that get lost, on either way."""

    stuck_after: int | None = Field(default=None, ge=1)
    """The gate answers nothing any more after so many parts. Without it, it never hangs."""

    seed: int = Field(default=0, ge=0)
    """Of what gets lost."""

    @model_validator(mode="after")
    def _sent_again_in_time(self) -> Self:
        if self.resend_ms > self.confirm_ms:
            raise ValueError(f"resend_ms ({self.resend_ms:g}) is more than confirm_ms ({self.confirm_ms:g})")
        return self


class WithoutOutput(FileModel):
    """No gate: verdicts are recorded and shown, nothing is moved and nobody confirms."""

    kind: Literal["none"]


Output = Annotated[SimulatedOutput | WithoutOutput, Field(discriminator="kind")]


class StationConfig(FileModel):
    """One physical cell."""

    schema_version: int = Field(default=SCHEMA_VERSION, ge=1)
    station_id: Name
    name: str = ""

    product: Name | None = None
    """The product whose active recipe judges the parts. Without one the station collects images:
    every part is UNDECIDED, its frames are kept to learn from."""

    runtime: Literal["auto", "openvino", "tensorrt"] = "auto"
    openvino: OpenVino = OpenVino()
    judging: Judging = Judging()
    golden_every_parts: int = Field(default=500, ge=0, le=1_000_000)
    """Between two parts the model is asked golden frames, whose answers are known, each every so many parts:
    the most that a model which begins to answer one wrongly can judge unnoticed. 0 never asks."""

    trigger: Trigger = ContinuousTrigger(kind="continuous")
    cameras: tuple[Camera, ...] = Field(min_length=1)
    output: Output = WithoutOutput(kind="none")
    records: Records = Records()
    image_health: ImageHealth = ImageHealth()
    health: Health | None = None
    """None: nobody can ask."""

    @model_validator(mode="after")
    def _threads_have_cores(self) -> Self:
        cores, threads = self.judging.cores, self.openvino.threads
        if cores and threads is not None and threads > cores:
            raise ValueError(f"openvino.threads ({threads}) is more than judging.cores ({cores})")
        return self

    @property
    def camera_ids(self) -> tuple[str, ...]:
        """The cameras' names, in the order of the file."""
        return tuple(camera.camera_id for camera in self.cameras)
