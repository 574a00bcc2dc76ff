"""Which precision judges on the CPU: the fastest that says the same, by measuring."""

import hashlib
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import structlog
from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from partgate_engines._bundle import Bundle
from partgate_engines._errors import BundleNotWritten, GraphRefused
from partgate_engines._golden import GoldenFrame
from partgate_engines._machine import GATE, processor_features, processor_name
from partgate_engines._openvino_device import Precision, capabilities, library
from partgate_engines._openvino_engines import FOLDER
from partgate_engines._parity import verify_parity
from partgate_engines._runtime import Runtime
from partgate_engines._write import write_file

log = structlog.get_logger(__name__)

LEAST_GAIN = 0.10
"""A reduced precision has to save this share of float32's time: what is less is noise, or not worth it."""

_WARM_UP_ROUNDS = 2
_MOST_ROUNDS = 9
_LEAST_ROUNDS = 3
_ENOUGH_S = 3.0
# Not FP16: with EfficientNet-Lite0 on bricks the score is not a number then (docs/decisions/0011).
_OFFERED: Mapping[str, Precision] = {"BF16": "bf16"}


class PrecisionTrial(BaseModel):
    """How one precision did."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    precision: Literal["f32", "bf16", "f16"]
    median_ms: float | None
    """Of one golden frame; None if the graph cannot be compiled in it."""

    outcome: Literal["taken", "slower", "refused"]
    why: str


class PrecisionChoice(BaseModel):
    """What was found on this machine, and when."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    chosen: Literal["f32", "bf16", "f16"]
    trials: tuple[PrecisionTrial, ...]
    bundle: str
    """The model it was measured with."""

    device: str
    version: str
    """Of OpenVINO."""

    at: AwareDatetime


def precision_choice(bundle: Bundle, engines: Path) -> PrecisionChoice | None:
    """Return the precision that was chosen for a model on this machine; None if none was yet.

    Args:
        bundle: the model.
        engines: the folder of engines.
    """
    for path in (_file(bundle, engines, of=bundle.id), _file(bundle, engines, of="any")):
        try:
            return PrecisionChoice.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            continue
        except (OSError, ValidationError) as error:
            log.warning("precision.unreadable", file=str(path), why=str(error).splitlines()[0])
    return None


def choose_precision(
    bundle: Bundle,
    engines: Path,
    *,
    open_in: Callable[[Precision], Runtime],
    candidates: Sequence[Precision] | None = None,
    clock_s: Callable[[], float] = time.perf_counter,
) -> PrecisionChoice:
    """Return the precision to judge with: measured now, unless it was before.

    Golden frames are judged in every precision that the processor has, in turn. The fastest that
    saves a tenth of float32's time and passes the parity gate is taken, else float32. Where none is
    faster, that is kept for all models with this graph and as large a bank; where one is, every
    model is measured, because parity is the model's.

    Args:
        bundle: the model.
        engines: the folder of engines, in which the choice is kept.
        open_in: opens a runtime in a precision.
        candidates: float32 first; None for what the processor has.
        clock_s: tells seconds.

    Raises:
        BundleRefused: the bundle was changed since it was opened.
        GraphRefused: the graph cannot be compiled in float32.
    """
    known = precision_choice(bundle, engines)
    if known is not None:
        return known
    trials = _tried(bundle, open_in, _offered() if candidates is None else candidates, clock_s)
    choice = PrecisionChoice(
        chosen=next(trial.precision for trial in trials if trial.outcome == "taken"),
        trials=trials,
        bundle=bundle.id,
        device=processor_name(),
        version=str(library().__version__),
        at=datetime.now(UTC),
    )
    log.info(
        "precision.chosen",
        precision=choice.chosen,
        model=bundle.id[:12],
        trials={trial.precision: trial.why for trial in trials},
    )
    _keep(bundle, engines, choice)
    return choice


def _offered() -> tuple[Precision, ...]:
    found = capabilities()
    return ("f32", *(precision for name, precision in _OFFERED.items() if name in found))


def _tried(
    bundle: Bundle,
    open_in: Callable[[Precision], Runtime],
    candidates: Sequence[Precision],
    clock_s: Callable[[], float],
) -> tuple[PrecisionTrial, ...]:
    golden = bundle.golden()
    with ExitStack() as stack:
        opened: dict[Precision, Runtime] = {}
        failed: list[PrecisionTrial] = []
        for precision in candidates:
            try:
                opened[precision] = stack.enter_context(closing(open_in(precision)))
            except GraphRefused as error:
                if precision == "f32":
                    raise
                failed.append(_trial(precision, None, "refused", str(error)))
        times_ms = _times_ms(bundle, opened, golden, clock_s) if len(opened) > 1 else {}
        return (*_judged(bundle, opened, golden, times_ms), *failed)


def _judged(
    bundle: Bundle,
    opened: Mapping[Precision, Runtime],
    golden: Sequence[GoldenFrame],
    times_ms: Mapping[Precision, float],
) -> tuple[PrecisionTrial, ...]:
    """Return the trials, the fastest first; exactly one of them is taken."""
    if not times_ms:
        return (PrecisionTrial(precision="f32", median_ms=None, outcome="taken", why="the only one here"),)
    full_ms = times_ms["f32"]
    trials: list[PrecisionTrial] = []
    is_taken = False
    for precision, median_ms in sorted(times_ms.items(), key=lambda item: item[1]):
        speed = f"{median_ms:.2f} ms, {median_ms / full_ms:.2f} of f32's"
        if precision == "f32":
            continue
        if is_taken or median_ms > (1 - LEAST_GAIN) * full_ms:
            trials.append(_trial(precision, median_ms, "slower", speed))
            continue
        problems = verify_parity(bundle, opened[precision], golden).problems
        if problems:
            trials.append(_trial(precision, median_ms, "refused", f"{speed}; {problems[0]}"))
        else:
            is_taken = True
            trials.append(_trial(precision, median_ms, "taken", f"{speed}; passed the parity gate"))
    full = _trial("f32", full_ms, "slower" if is_taken else "taken", f"{full_ms:.2f} ms")
    return (*trials, full) if is_taken else (full, *trials)


def _trial(
    precision: Precision, median_ms: float | None, outcome: Literal["taken", "slower", "refused"], why: str
) -> PrecisionTrial:
    rounded = None if median_ms is None else round(median_ms, 3)
    return PrecisionTrial(precision=precision, median_ms=rounded, outcome=outcome, why=why)


def _times_ms(
    bundle: Bundle,
    opened: Mapping[Precision, Runtime],
    golden: Sequence[GoldenFrame],
    clock_s: Callable[[], float],
) -> dict[Precision, float]:
    """Return each precision's median over the rounds, for one frame; they are timed in turn."""
    rounds: dict[Precision, list[float]] = {precision: [] for precision in opened}
    began_s = clock_s()
    for number in range(_WARM_UP_ROUNDS + _MOST_ROUNDS):
        for precision, runtime in opened.items():
            started_s = clock_s()
            for frame in golden:
                runtime.scores([frame.pixels], [bundle.manifest.regions])
            if number >= _WARM_UP_ROUNDS:
                rounds[precision].append((clock_s() - started_s) * 1000 / len(golden))
        if number + 1 >= _WARM_UP_ROUNDS + _LEAST_ROUNDS and clock_s() - began_s > _ENOUGH_S:
            break
    return {precision: statistics.median(times) for precision, times in rounds.items()}


def _keep(bundle: Bundle, engines: Path, choice: PrecisionChoice) -> None:
    is_for_all = all(trial.precision == "f32" or trial.outcome == "slower" for trial in choice.trials)
    path = _file(bundle, engines, of="any" if is_for_all and choice.chosen == "f32" else bundle.id)
    try:
        write_file(path, choice.model_dump_json(indent=2).encode())
    except BundleNotWritten as error:
        log.warning("precision.not_kept", why=str(error), what_now="it is measured at every start")


def _file(bundle: Bundle, engines: Path, *, of: str) -> Path:
    facts: dict[str, Any] = {
        "bundle": of,
        "graph_sha256": bundle.manifest.graph_sha256,
        "bank_rows": bundle.manifest.bank_rows,
        "device": processor_name(),
        "capability": processor_features(),
        "version": str(library().__version__),
        "gate": GATE,
    }
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    return engines.absolute() / FOLDER / f"{digest}.precision"
