"""The way through the parity gate: a proof that holds here, or golden frames judged anew."""

from collections.abc import Sequence

import structlog

from partgate.line._golden import IN_SERVICE
from partgate.records import Proofs
from partgate_engines import Bundle, GoldenFrame, ParityReport, Runtime, fingerprint_of, verify_parity

log = structlog.get_logger(__name__)


def pass_gate(
    bundle: Bundle, runtime: Runtime, golden: Sequence[GoldenFrame], proofs: Proofs
) -> ParityReport:
    """Let a runtime judge only after it has said of golden frames what the bundle says.

    Where a proof is kept for exactly this bundle, runtime, version, precision, driver and device, the
    first golden frames are enough: they show that what was proven is what was loaded. Everywhere else,
    so after any change of those, all of them are judged and the report is kept.

    Raises:
        ParityFailed: names the frames and what is wrong with them.
    """
    fingerprint = fingerprint_of(bundle, runtime)
    proof = proofs.get(fingerprint)
    if proof is not None and proof.passed:
        verify_parity(bundle, runtime, golden[:IN_SERVICE]).require()
        return proof
    report = verify_parity(bundle, runtime, golden)
    proofs.put(report)
    log.info(
        "parity gate",
        model=bundle.id[:12],
        runtime=f"{fingerprint.runtime} {fingerprint.runtime_version}, {fingerprint.precision}",
        device=fingerprint.device,
        frames=len(report.frames),
        references=report.references,
        passed=report.passed,
        seconds=report.seconds,
    )
    report.require()
    return report
