"""What a judge is asked now and then, and what it must answer."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from partgate_engines import Bundle, DeviceFailed, GoldenFrame, Runtime, answer, disagreement
from partgate_station import PartgateError, Region, Thresholds

IN_SERVICE = 3  # of a bundle's golden frames; its first ones are the most telling


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenCheck:
    """Golden frames with the answers that a runtime gave when it passed the gate."""

    frames: tuple[GoldenFrame, ...]
    regions: tuple[Region, ...]
    thresholds: Thresholds

    @classmethod
    def of(cls, bundle: Bundle, runtime: Runtime, golden: Sequence[GoldenFrame]) -> "GoldenCheck":
        """Ask a runtime that has just passed the gate; its own answers are what it is held to.

        Its own, not the bundle's: they repeat to the last bits in every precision, so a reduced one is
        watched as closely as float32.
        """
        regions = bundle.manifest.regions
        return cls(
            frames=tuple(_answered(runtime, frame, regions) for frame in golden[:IN_SERVICE]),
            regions=regions,
            thresholds=bundle.manifest.calibration.thresholds,
        )

    def problem(self, runtime: Runtime, number: int) -> str | None:
        """Judge one golden frame; return what is wrong with the answer, None if nothing is.

        Args:
            runtime: in the thread that it belongs to.
            number: of the frame, a position in `frames`.

        Raises:
            DeviceFailed: the runtime's device cannot be trusted any more: the process has to end.
        """
        frame = self.frames[number]
        try:
            return disagreement(frame, answer(runtime, frame.pixels, self.regions), self.thresholds)
        except DeviceFailed:
            raise
        except PartgateError as error:
            return f"{frame.name}: {error}"


def _answered(runtime: Runtime, frame: GoldenFrame, regions: tuple[Region, ...]) -> GoldenFrame:
    result = answer(runtime, frame.pixels, regions)
    return replace(frame, score=result.score, anomaly_map=result.anomaly_map)
