"""The options of `partgate recipe threshold`."""

from typing import Annotated

import typer

Review = Annotated[float | None, typer.Option(help="A part at or above it is reviewed.")]
Reject = Annotated[float | None, typer.Option(help="A part at or above it is rejected.")]
FalseRejects = Annotated[
    str | None,
    typer.Option(metavar="1/N", help="Set both for this share of good parts rejected, such as 1/500."),
]
Commissioning = Annotated[
    bool,
    typer.Option(
        "--commissioning",
        help="A review band as wide as the evidence is thin; for --false-rejects, or 1/5000 and 1/100.",
    ),
]
Reason = Annotated[str, typer.Option(help="Why; kept with the version and in the audit trail.")]
By = Annotated[str, typer.Option(metavar="NAME", help="Who decided, if it was not you.")]
RegionName = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Change the limit of this region alone, by --reject or --sensitivity."),
]
Sensitivity = Annotated[
    float | None, typer.Option(help="With --region: how many times what lies in it counts, 0.05 to 20.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show what would change.")]
