"""From the station file to the output that it names."""

import contextlib
from collections.abc import Iterator

import structlog

from partgate.line._acknowledged import AcknowledgedOutput
from partgate.line._outputs import NoOutput, Output
from partgate.line._simulated_gate import SimulatedGate
from partgate_station import SimulatedOutput, StationConfig, WithoutOutput

log = structlog.get_logger(__name__)


@contextlib.contextmanager
def output_of(config: StationConfig) -> Iterator[Output]:
    """Give a station's output; afterwards it is let go of, and the gate is shut."""
    match config.output:
        case WithoutOutput():
            yield NoOutput()
        case SimulatedOutput() as said:
            log.warning("the gate is simulated: no part is moved", station=config.station_id)
            gate = SimulatedGate(
                latency_s=said.latency_ms / 1000,
                loss=said.loss,
                stuck_after=said.stuck_after,
                seed=said.seed,
            )
            with contextlib.closing(gate), contextlib.closing(acknowledged(said, gate)) as output:
                yield output


def acknowledged(said: SimulatedOutput, gate: SimulatedGate) -> AcknowledgedOutput:
    """Return an output over a line to a gate, with the station file's times."""
    return AcknowledgedOutput(gate.connect, confirm_s=said.confirm_ms / 1000, resend_s=said.resend_ms / 1000)
