"""The options of `partgate learn`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

Kind = Literal[
    "patchcore", "padim", "pca", "drawn", "stfpm", "fastflow", "supersimplenet", "reverse-distillation"
]
KindOption = Annotated[
    Kind | None,
    typer.Option(
        help=(
            "What is learned. patchcore, padim and pca take seconds; the others train a network for minutes"
            " and hold a quarter of the good parts back for the thresholds. docs/reference/models.md compares"
            " them."
        ),
        show_default="patchcore",
    ),
]
Steps = Annotated[
    int | None,
    typer.Option(
        min=1, max=100_000, help="Steps of training, of a kind that trains.", show_default="200 or 300"
    ),
]
Masks = Annotated[
    Path | None,
    typer.Option(
        help=(
            "Masks for some of --defects, named like them: what is not black is defective. supersimplenet"
            " learns from these; other kinds only score them."
        )
    ),
]

Good = Annotated[Path | None, typer.Option(help="A folder with images of good parts.")]
FromStation = Annotated[
    str | None, typer.Option(help="Learn from what this station collected without a recipe.")
]
Defects = Annotated[Path | None, typer.Option(help="Images of defective parts: scored for the report.")]
RecipeFile = Annotated[Path | None, typer.Option(help="A recipe file: regions, deadline, review gate.")]
Regions = Annotated[
    list[str] | None, typer.Option(help="Judge only this polygon: x,y x,y x,y in pixels. Repeatable.")
]
Backbone = Annotated[str | None, typer.Option(help="A timm backbone.", show_default="EfficientNet-Lite0")]
Layers = Annotated[
    str | None,
    typer.Option(
        help=(
            "Layers whose features make a patch, separated by commas; blocks.4,blocks.6 see larger things"
            " than the usual ones."
        ),
        show_default="blocks.2,blocks.4",
    ),
]
Contrast = Annotated[
    Literal["global", "local"] | None,
    typer.Option(
        help=(
            "What the backbone sees. global: grey levels as they are. local: how each pixel differs from"
            " what is around it, for light and shading that differ between good parts."
        ),
        show_default="global",
    ),
]
Precision = Annotated[
    Literal["f32", "int8"],
    typer.Option(
        help=(
            "What the graph is computed in. int8 judges in 0.5 to 0.8 of the time on processors with VNNI, by"
            " runtime openvino alone, and sees other details a little: compare both with --defects first."
        )
    ),
]
Choose = Annotated[
    bool,
    typer.Option(
        "--choose",
        help=(
            "Choose what you do not give of --tile-px, --layers, --contrast and --kind: defects of a few"
            " pixels to a tenth of the frame are drawn on some of the good images, and what finds them best"
            " is taken, the cheapest unless another is clearly better. The kind drawn is taken where it gains"
            " more on defects that it was taught than it loses on others. Takes minutes, the first time in a"
            " home some more to export graphs."
        ),
    ),
]
Weights = Annotated[Path | None, typer.Option(help="The backbone's weights.", show_default="packaged")]
Size = Annotated[int, typer.Option(min=64, max=1024, help="Frames are resized to this many px.")]
TilePx = Annotated[
    int | None,
    typer.Option(
        min=32,
        help=(
            "Judge in tiles of this many px of the frame, each resized to --size: for defects of a few px in"
            " a large frame. As large as --size nothing is shrunk; every tile costs as much as a whole frame."
        ),
        show_default="one tile: the whole frame",
    ),
]
Align = Annotated[
    bool,
    typer.Option(
        "--align",
        help=(
            "The part does not always lie in the same place: find it in every frame, and judge the frame as"
            " if it lay where the good ones do, for regions to follow it. A part that is not there or too far"
            " off is UNDECIDED. Costs some milliseconds a frame."
        ),
    ),
]
AlignShift = Annotated[
    float | None,
    typer.Option(
        min=0.01, max=0.5, help="With --align: how far off, as a share of the frame.", show_default="0.15"
    ),
]
AlignTurn = Annotated[
    float | None,
    typer.Option(min=0, max=180, help="With --align: turned by so many degrees.", show_default="15"),
]
AlignScale = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=0.5,
        help="With --align: larger or smaller by so much; 0.1 is a tenth.",
        show_default="0.1",
    ),
]
Bank = Annotated[int, typer.Option(min=1, max=50_000, help="Rows of the memory bank.")]
FalseRejects = Annotated[
    str | None,
    typer.Option(
        metavar="1/N",
        help="The share of good parts that may be rejected, such as 1/500.",
        show_default="1/5000, and 1/100 reviewed",
    ),
]
FalseReviews = Annotated[
    str | None,
    typer.Option(
        metavar="1/N",
        help="With --false-rejects: the share that may be reviewed or rejected.",
        show_default="ten times as many, at most 1/20",
    ),
]
Confidence = Annotated[
    float | None,
    typer.Option(
        min=0.5, max=0.9999, help="How sure the shares of good parts have to be.", show_default="0.95"
    ),
]
Commissioning = Annotated[
    bool,
    typer.Option(
        "--commissioning",
        help=(
            "A wide review band until there is evidence: review as low and reject as high as so few good"
            " parts leave open. It narrows with every retraining; `partgate recipe threshold` ends it."
        ),
    ),
]
KeepOutliers = Annotated[
    bool,
    typer.Option("--keep-outliers", help="Learn images that do not belong to the others all the same."),
]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Leave out unusable images.")]
