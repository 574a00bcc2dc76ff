"""`partgate models verify`: golden frames through a runtime of this machine."""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from partgate.cli._app import DEFAULT_HOME, HomeOption, JsonFlag
from partgate.cli._output import out, print_json, print_table, table
from partgate.cli.models import models
from partgate_station import MissingInput

if TYPE_CHECKING:
    from partgate_engines import Bundle, GoldenFrame, ParityReport

RuntimeKind = Literal["auto", "openvino", "tensorrt"]
EXIT_FAILED = 65


@models.command()
def verify(
    model: Annotated[
        str,
        typer.Argument(
            metavar="PRODUCT|BUNDLE|MODEL",
            help="A product with an active model, a bundle's folder, or the first digits of a model's id.",
        ),
    ],
    runtime: Annotated[RuntimeKind, typer.Option(help="What runs the graph.")] = "auto",
    torch: Annotated[bool, typer.Option("--torch", help="Compute the references anew, with torch.")] = False,
    weights: Annotated[
        Path | None, typer.Option(help="The backbone's weights, for --torch.", show_default="packaged")
    ] = None,
    unverified: Annotated[
        bool, typer.Option("--unverified", help="Take a bundle whose signer is not trusted, or unsigned.")
    ] = False,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonFlag = False,
) -> None:
    """Judge a model's golden frames here, and compare with what the bundle says of them.

    A station does this by itself before it judges with a model for the first time, and again after any
    change of runtime, driver, precision or device. The result is kept in the home. Where the answers are
    wrong the graph is compiled anew, in the place of what was kept, and asked once more. Exit code 65 if the
    model must not judge on this machine.
    """
    from partgate.cli._bundles import engines_of, open_named

    if weights is not None and not torch:
        raise typer.BadParameter("--weights are what --torch computes with: give --torch as well")
    bundle, _ = open_named(model, home, unverified=unverified, ids=True)
    golden, references = None, ""
    if torch:
        from partgate_engines.anomaly import recomputed

        golden, references = recomputed(bundle, weights)
    report = _judged(bundle, runtime, engines_of(home), golden, references)
    if not torch:
        _keep(report, home)
    if as_json:
        print_json(_as_json(report))
    else:
        _print(report)
    if not report.passed:
        raise typer.Exit(EXIT_FAILED)


def _judged(
    bundle: "Bundle",
    runtime: RuntimeKind,
    engines: Path | None,
    golden: "Sequence[GoldenFrame] | None",
    references: str,
) -> "ParityReport":
    """Judge golden frames, and again with a graph compiled anew where what was kept answers wrongly."""
    from partgate_engines import forget_engines, open_runtime, verify_parity

    def judged() -> "ParityReport":
        with contextlib.closing(open_runtime(bundle, runtime, engines=engines)) as opened:
            return verify_parity(bundle, opened, golden, references=references)

    report = judged()
    if report.passed or engines is None:
        return report
    forget_engines(bundle.manifest.graph_sha256, engines, runtime=report.fingerprint.runtime)
    return judged()


def _keep(report: "ParityReport", home: Path) -> None:
    """Keep the result where a station will look for it; a bundle may be verified without a home."""
    from partgate.records import Home, Proofs

    with contextlib.suppress(MissingInput):
        Proofs(Home.open(home, create=False)).put(report)


def _as_json(report: "ParityReport") -> dict[str, Any]:
    frames = [{**frame.model_dump(mode="json"), "flipped": frame.flipped} for frame in report.frames]
    return {
        "passed": report.passed,
        "flips": report.flips,
        **report.model_dump(mode="json"),
        "frames": frames,
    }


def _print(report: "ParityReport") -> None:
    fingerprint = report.fingerprint
    out.print(
        f"Model {fingerprint.bundle[:12]} in {fingerprint.runtime} {fingerprint.runtime_version}"
        f" ({fingerprint.precision}) on {fingerprint.device}, against {report.references}",
        markup=False,
    )
    rows = [
        [
            frame.name,
            frame.reference,
            "none" if frame.here is None else frame.here,
            _share(frame.score_difference),
            _share(frame.map_difference),
            frame.verdict.value + (f", expected {frame.expected.value}" if frame.flipped else ""),
        ]
        for frame in report.frames
    ]
    columns = ["golden frame", "reference", "here", "score differs by", "map differs by", "verdict"]
    print_table(table("", columns, rows))
    correlation = "none" if report.rank_correlation is None else f"{report.rank_correlation:.6f}"
    out.print(f"Rank correlation of all patches: {correlation}. Bound: {report.bound}.")
    for problem in report.problems:
        out.print(f"Failed: {problem}", markup=False)
    out.print(
        "Passed: this runtime may judge parts with this model here."
        if report.passed
        else "This runtime must not judge parts with this model here."
    )


def _share(difference: float | None) -> str:
    return "no number" if difference is None else f"{difference:.1e}"
