"""A station whose parts can be lost one by one, for who watches it."""

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from partgate.line._disks import StationDisks
from partgate.line._judge import Judge
from partgate.line._outputs import NoOutput
from partgate.line._watch import GoldenWatch
from partgate.line._watched import Watched
from partgate.records import AskRoom, Home, ImageCounts, room_of
from partgate_station import Recipe, Thresholds


@dataclass
class FakeCamera:
    camera_id: str = "top"
    problem: str | None = None
    restarts: int = 0
    lost_frames: int = 0


@dataclass
class FakeRecorder:
    problem: str | None = None
    waiting: int = 0
    restarts: int = 0
    images: ImageCounts = field(default_factory=ImageCounts)
    nothing_to_remove: bool = False


@dataclass
class FakeJudges:
    coming: Judge | None = None


@dataclass
class GateOutput(NoOutput):
    problem: str | None = None


def make_judge(*, proven: bool = True, recipe_id: int = 7) -> Judge:
    fingerprint: Any = SimpleNamespace(graph_sha256="ab") if proven else None
    runtime: Any = SimpleNamespace(name="openvino")
    thresholds = Thresholds(review=1.0, reject=2.0)
    return Judge(
        activation_id=1,
        recipe_id=recipe_id,
        model_id="0123456789abcdef",
        recipe=Recipe(product="tile", thresholds=thresholds, deadline_ms=500),
        runtime=runtime,
        fingerprint=fingerprint,
    )


def no_watch() -> GoldenWatch:
    return GoldenWatch(station_id="one", every_parts=0, flag=lambda found: None, reload=lambda judge: None)


@dataclass
class FakeStation:
    home_path: Path
    product: str | None = "tile"
    cameras: list[FakeCamera] = field(default_factory=lambda: [FakeCamera("top"), FakeCamera("side")])
    recorder: FakeRecorder = field(default_factory=FakeRecorder)
    judges: FakeJudges = field(default_factory=lambda: FakeJudges(make_judge()))
    golden: GoldenWatch = field(default_factory=no_watch)
    output: GateOutput = field(default_factory=GateOutput)
    makes_room: bool = True
    ask: AskRoom = room_of

    def watched(self) -> Watched:
        home = Home(path=self.home_path)
        if self.home_path.is_dir():
            home.images_path.mkdir(exist_ok=True)
            home.maps_path.mkdir(exist_ok=True)
        disks = StationDisks(
            home,
            makes_room=self.makes_room,
            nothing_to_remove=lambda: self.recorder.nothing_to_remove,
            ask=self.ask,
        )
        return Watched(
            product=self.product,
            cameras=self.cameras,
            recorder=self.recorder,
            judges=self.judges,
            golden=self.golden,
            output=self.output,
            disks=disks,
        )
