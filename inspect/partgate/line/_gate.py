"""The way through the parity gate: a proof that holds here, or golden frames judged anew."""

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog

from partgate.line._golden import IN_SERVICE
from partgate.records import Proofs
from partgate_engines import (
    Bundle,
    GoldenFrame,
    ParityFailed,
    ParityReport,
    Runtime,
    fingerprint_of,
    forget_engines,
    verify_parity,
)

log = structlog.get_logger(__name__)

OnContradiction = Callable[[str], None]


def open_through_gate(
    bundle: Bundle,
    open_runtime: Callable[[], Runtime],
    golden: Sequence[GoldenFrame],
    proofs: Proofs,
    *,
    engines: Path,
    on_contradiction: OnContradiction = lambda why: None,
) -> tuple[Runtime, ParityReport]:
    """Open a runtime and let it through the gate; compile its graph anew, once, if it is wrong.

    An engine that was compiled wrongly is kept with a hash that fits it: only its answers tell, and left
    where it is it would be wrong at every start.

    Args:
        bundle: what it judges with.
        open_runtime: opens it, with these engines.
        golden: the bundle's golden frames.
        proofs: of this home.
        engines: the folder of engines.
        on_contradiction: see `pass_gate`.

    Raises:
        ParityFailed: it is wrong when its graph was compiled anew, too.
    """
    with contextlib.ExitStack() as stack:
        runtime = open_runtime()
        stack.callback(runtime.close)
        try:
            report = pass_gate(bundle, runtime, golden, proofs, on_contradiction=on_contradiction)
        except ParityFailed as error:
            log.warning("parity gate failed", error=str(error), what_now="the graph is compiled anew, once")
            stack.close()
            forget_engines(bundle.manifest.graph_sha256, engines, runtime=runtime.name)
            runtime = open_runtime()
            stack.callback(runtime.close)
            report = pass_gate(bundle, runtime, golden, proofs, on_contradiction=on_contradiction)
        stack.pop_all()
    return runtime, report


def pass_gate(
    bundle: Bundle,
    runtime: Runtime,
    golden: Sequence[GoldenFrame],
    proofs: Proofs,
    *,
    on_contradiction: OnContradiction = lambda why: None,
) -> ParityReport:
    """Let a runtime judge only after it has said of golden frames what the bundle says.

    Where a proof is kept for exactly this bundle, runtime, version, precision, driver and device, the
    first golden frames are enough: they show that what was proven is what was loaded. Everywhere else,
    so after any change of those, all of them are judged and the report is kept. A proof that these first
    frames contradict is let go of.

    Args:
        bundle: what is judged with.
        runtime: opened with it.
        golden: its golden frames.
        proofs: of this home.
        on_contradiction: told what is wrong where a proof said that it was right: the parts judged since
            may have been judged wrongly.

    Raises:
        ParityFailed: names the frames and what is wrong with them.
    """
    fingerprint = fingerprint_of(bundle, runtime)
    proof = proofs.get(fingerprint, bundle.manifest)
    if proof is not None and proof.passed:
        found = verify_parity(bundle, runtime, golden[:IN_SERVICE])
        if not found.passed:
            proofs.forget(fingerprint)
            on_contradiction("; ".join(found.problems))
        found.require()
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
