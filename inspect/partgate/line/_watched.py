"""What is watched of a running station, and what each part of it must show before parts may come."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from partgate.line._disks import StationDisks
from partgate.line._image_health import CameraHealth, ImageHealthWatch
from partgate.line._judge import Judge
from partgate.line._outputs import CheckedOutput, Output
from partgate.line._readiness import Check
from partgate.line._watch import GoldenWatch
from partgate.records import ImageCounts


class WatchedCamera(Protocol):
    """A camera, as the supervision sees it. For any thread."""

    camera_id: str
    lost_frames: int

    @property
    def problem(self) -> str | None:
        """Why it cannot be asked for a frame; None if it can."""
        ...

    @property
    def restarts(self) -> int:
        """How often its process was started again."""
        ...


class WatchedRecorder(Protocol):
    """The recorder, as the supervision sees it. For any thread."""

    @property
    def problem(self) -> str | None:
        """Why it writes no rows now; None while it does."""
        ...

    @property
    def waiting(self) -> int:
        """Parts on their way to the disk."""
        ...

    @property
    def restarts(self) -> int:
        """How often its process was started again."""
        ...

    @property
    def images(self) -> ImageCounts:
        """What became of images that are not kept."""
        ...


class WatchedJudges(Protocol):
    """Who judges, as the supervision sees it. For any thread."""

    @property
    def coming(self) -> Judge | None:
        """The judge that the next part will get."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """The parts of a station that is assembled."""

    product: str | None
    cameras: Sequence[WatchedCamera]
    recorder: WatchedRecorder
    judges: WatchedJudges
    golden: GoldenWatch
    output: Output
    disks: StationDisks
    image_health: ImageHealthWatch | None = None
    """None: frames are not measured."""

    @property
    def camera_health(self) -> tuple[CameraHealth, ...]:
        """What was measured of the last frame of every camera."""
        return () if self.image_health is None else self.image_health.cameras

    @property
    def alarms(self) -> tuple[str, ...]:
        """What a person has to put right while the station runs on; each a sentence."""
        return (() if self.image_health is None else self.image_health.alarms) + self.disks.alarms

    def deadline_s(self, without_recipe_s: float) -> float:
        """Return how long a part may take from its trigger on."""
        judge = self.judges.coming
        return without_recipe_s if judge is None else judge.recipe.deadline_ms / 1000

    def checks(self) -> dict[str, Check]:
        """Return what has to be shown, by name: cameras, runtime, parity, store, disk and output.

        A station without a product collects images: it needs neither runtime nor parity.
        """
        checks: dict[str, Check] = {
            f"camera {camera.camera_id}": partial(_camera_problem, camera) for camera in self.cameras
        }
        if self.product is not None:
            checks |= {"runtime": self._runtime, "parity": self._parity}
        return checks | {"store": self._store, "disk": self.disks.problem, "output": self._output}

    def _runtime(self) -> str | None:
        if self.judges.coming is None:
            return f"no recipe of {self.product} is active: every part is UNDECIDED, its images are kept"
        return None

    def _parity(self) -> str | None:
        judge = self.judges.coming
        if judge is None:
            return "there is no model"
        if judge.fingerprint is None:
            return f"model {judge.model_id[:12]} has not passed the parity gate"
        if (why := self.golden.distrusts(judge)) is not None:
            return f"model {judge.model_id[:12]} is out of service: {why}"
        return None

    def _store(self) -> str | None:
        return self.recorder.problem

    def _output(self) -> str | None:
        return self.output.problem if isinstance(self.output, CheckedOutput) else None


def _camera_problem(camera: WatchedCamera) -> str | None:
    problem = camera.problem
    return None if problem is None else problem.removeprefix(f"camera {camera.camera_id}: ")
