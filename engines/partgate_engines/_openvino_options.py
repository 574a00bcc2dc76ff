"""How a station wants its graphs run on the CPU."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from partgate_engines._cores import affine_cores, usable_cores
from partgate_engines._openvino_device import DeviceConfig, Precision
from partgate_station import StationConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenVinoOptions:
    """What may be said of judging on the CPU; the defaults serve a station with one camera."""

    precision: Literal["auto", "f32", "bf16"] = "auto"
    """`auto` measures, once for a model on a machine; without a folder for engines it is f32."""

    mode: Literal["auto", "latency", "throughput"] = "auto"
    """`latency` gives all cores to one frame, `throughput` judges several side by side; `auto` is
    throughput where a part has several frames."""

    threads: int | None = None
    """Cores to judge with at most; None for all that this process may use."""

    cores: int = 0
    """So many cores are set aside for judging, and the thread that opens the runtime is kept to them; 0 where
    none are. Told, because a processor is not a core where there are hyperthreads."""

    cameras: int = 1
    """How many frames a part has."""

    engines: Path | None = None
    """The folder of compiled graphs and measured precisions; None keeps nothing."""

    @classmethod
    def of_station(cls, config: StationConfig) -> Self:
        """Return what a station's file says."""
        said = config.openvino
        return cls(
            precision=said.precision,
            mode=said.mode,
            threads=said.threads,
            cores=config.judging.cores,
            cameras=len(config.cameras),
        )

    def config(self, precision: Precision) -> DeviceConfig:
        """Return how a graph is compiled for this machine."""
        cores = self.cores or usable_cores()
        # OpenVINO does not know of a quota, and takes hyperthreads for cores once it may run on both.
        threads = self.threads or (cores if self.cores or cores < affine_cores() else 0)
        return DeviceConfig(precision=precision, streams=self._streams(threads or cores), threads=threads)

    def _streams(self, cores: int) -> int:
        """Return how many frames are judged side by side: one for each camera, at most one on a core."""
        if self.mode == "latency" or (self.mode == "auto" and self.cameras == 1):
            return 1
        return min(self.cameras if self.cameras > 1 else cores, cores)
