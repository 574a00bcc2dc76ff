"""What a bundle says of itself."""

from datetime import datetime
from math import ceil
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from partgate_engines._bank import BankForm
from partgate_engines._pose import PoseReference
from partgate_station import Region, Thresholds

FORMAT: Literal[2] = 2

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=1)]


KindName = Literal[
    "drawn", "fastflow", "padim", "patchcore", "pca", "reverse-distillation", "stfpm", "supersimplenet"
]
"""What is learned; docs/reference/models.md says what each is for."""

Contrast = Literal["global", "local"]
"""What the backbone sees: grey levels as they are, or each against what is around it."""


GraphPrecision = Literal["f32", "int8"]
"""What a graph's convolutions, and its comparison with the bank, are meant to be computed in."""


class _Model(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, strict=True, use_attribute_docstrings=True
    )


class DefectEvidence(_Model):
    """How defective images, never learned from, fared against the thresholds."""

    n: int = Field(ge=1)
    flagged: int = Field(ge=0)
    """At or above `review`."""

    rejected: int = Field(ge=0)
    """At or above `reject`."""


class ThresholdRule(_Model):
    """How one of the thresholds was set, and what that guarantees."""

    one_in: int = Field(ge=1)
    """What was asked: at most one good part in so many at or above it."""

    method: Literal["order-statistic", "tail", "commissioning"]
    """`order-statistic`: just above one of the held-out scores; what was asked is guaranteed, where images
    were set aside of parts like those that were learned. `tail`: an
    extrapolation beyond them, since there are too few parts; what was asked is not guaranteed.
    `commissioning`: `review` as low and `reject` as high as what so few parts leave open."""

    rank: int = Field(default=0, ge=0)
    """Of an order statistic: it lies just above the so highest score, 1 for the highest."""

    guaranteed_one_in: int | None = None
    """At most one good part in so many lies at or above it, with the card's confidence, whatever the
    distribution, what was set aside counted; None: nothing is guaranteed."""

    needed: int = Field(ge=1)
    """Good parts it takes to guarantee what was asked."""


class CalibrationCard(_Model):
    """What the thresholds were calibrated on, and how sure that makes them."""

    parts: int = Field(ge=1)
    """Good parts; the photographs of one count once."""

    photographs: int = Field(ge=1)
    set_aside: int = Field(default=0, ge=0)
    """Images that were not learned because they score highest, when the product was learned. They may show
    good parts, so what is guaranteed of all good parts counts each of them as one above the threshold."""

    confidence: float = Field(ge=0.5, lt=1)
    commissioning: bool = False
    """Whether people look at everything that so few parts leave open."""

    review: ThresholdRule
    reject: ThresholdRule
    part_of: tuple[int, ...]
    """The number of the part that each of the scores is of, in their order."""

    split_sha256: Digest
    """Of the pixels' hashes and part numbers of the photographs, in order."""


class RegionEvidence(_Model):
    """What the good parts say of one region with a name."""

    name: str
    sensitivity: float = Field(gt=0)
    set_by: Literal["recipe", "learning", "nobody"]
    """`recipe`: it was given, in a file or by a person; `learning`: by these parts; `nobody`: it is 1."""

    scores: tuple[float, ...]
    """Of every good part with a patch in it, the held-out score as if nothing else were judged, and as if
    it counted once: of its worst photograph; sorted."""


class Calibration(_Model):
    """Two thresholds and what they rest on."""

    thresholds: Thresholds
    method: Literal["leave-one-out", "held-back", "mirrored"]
    """How good images came to be scored by what was not learned from them: each by all others; some that
    were held back by the others; mirrors of a single one."""

    scores: tuple[float, ...] = Field(min_length=1)
    """Held-out anomaly scores of the good images, in their order (of one image: of its mirrors)."""

    promise: str
    """What may be expected of the thresholds, in a person's words."""

    warnings: tuple[str, ...] = ()
    defects: DefectEvidence | None = None
    regions: tuple[RegionEvidence, ...] = ()
    """Of the regions with names; `scores` above are with their sensitivities."""

    card: CalibrationCard | None = None
    """None: calibrated before there were cards."""


class Source(_Model):
    """A good image that a product was learned from."""

    origin: str
    """Where it came from: a file's name, or `part:<uuid>`."""

    pixels_sha256: Digest
    """Of its shape and pixels."""

    alike: tuple[int, ...] = ()
    """Positions of other good images that seem to show the same part; held out together with it."""


class Tiling(_Model):
    """How what is judged is cut into tiles, each of which the graph sees as a frame of its own."""

    tile_px: Count
    """Pixels of the frame that a tile covers along each side."""

    overlap_px: int = Field(ge=0)
    """Pixels that neighbours share at least, so that every patch is judged with some of its surroundings."""

    @model_validator(mode="after")
    def _leaves_something(self) -> Self:
        if 2 * self.overlap_px > self.tile_px:
            raise ValueError(f"overlap_px {self.overlap_px}: at most half of tile_px, {self.tile_px}")
        return self

    @classmethod
    def of(cls, tile_px: int, *, patches: int) -> Self:
        """Return tiles that overlap by about an eighth, in whole patches.

        Args:
            tile_px: of a tile.
            patches: of a tile along one side.
        """
        shared = min(max(round(patches / 8), 1), patches // 2)
        return cls(tile_px=tile_px, overlap_px=min(ceil(shared * tile_px / patches), tile_px // 2))


class SizeTrial(_Model):
    """How defects of one order of size were told apart."""

    smallest_px: float = Field(gt=0)
    """Pixels of the frame."""

    largest_px: float = Field(gt=0)
    auroc: float = Field(ge=0, le=1)


class Trial(_Model):
    """How one way of looking told good images from the same with a defect drawn on them."""

    kind: KindName = "patchcore"
    tile_px: Count | None = None
    """None: whole frames."""

    contrast: Contrast
    layers: tuple[str, ...] = Field(min_length=1)
    auroc: float = Field(ge=0, le=1)
    """Where defects were of several sizes, the mean over these."""

    counted: Literal["mean", "weakest"] = "mean"
    """What it was held against others by: the mean over the sizes, or the size told apart least."""

    compared_with: int = Field(default=0, ge=0)
    """The number of the trial whose place this one took, or did not take; the first has its own."""

    gain: float = 0.0
    """By how much that was better than of the trial it was compared with."""

    error: float = Field(ge=0)
    """Standard error of the gain, over draws of parts."""

    taken: bool = False
    """Whether it took the other's place; the last one that did was chosen. The first does."""

    by_size: tuple[SizeTrial, ...] = ()
    tiles: Count = 1
    """Of a frame: what it costs."""

    frame_ms: float | None = Field(default=None, ge=0)
    """Median of a frame, on the machine that learned, with a small bank, features and maps computed too."""

    good_images: Count
    drawn_defects: Count


class FamilyTrial(_Model):
    """How two kinds told good tiles from the same with a defect of one family drawn on them."""

    family: str
    auroc: float = Field(ge=0, le=1)
    """Of the kind that it was compared with."""

    taught: float = Field(ge=0, le=1)
    """AUROC of the kind that was tried, taught this family on other parts."""

    untaught: float = Field(ge=0, le=1)
    """AUROC of the same, taught all families but this."""


class KindTrial(_Model):
    """How a kind that is taught on drawn defects was held against the one found so far."""

    kind: KindName
    """That was tried."""

    compared_with: KindName
    families: tuple[FamilyTrial, ...] = Field(min_length=1)
    taught_gain: float
    """Mean over the families of what it gained where it was taught the family."""

    taught_error: float = Field(ge=0)
    """Standard error of that, over draws of parts."""

    untaught_gain: float
    """The same where it was taught all but the family."""

    untaught_error: float = Field(ge=0)
    is_better: bool
    """Whether it surely gained on what it was taught, and lost less on what it was not."""

    needs_parts: int | None = None
    """How many good parts its thresholds need, where it was better and there were too few to take it."""

    taken: bool
    good_images: Count
    drawn_defects: Count


class Training(_Model):
    """How a network was trained, where that is what was learned."""

    steps: Count
    batch: Count
    """Images of a step."""

    held_back: int = Field(ge=0)
    """Good images that were not trained on: what the thresholds rest on."""

    defects: int = Field(ge=0)
    """Images of defective parts, with masks, that were trained on."""

    first_loss: float
    last_loss: float
    """Mean over the first and the last tenth of the steps."""


class GoldenEntry(_Model):
    """A golden frame; its pixels and map lie in `golden.safetensors` under its number."""

    name: str
    """What it shows."""

    score: float
    """What every runtime must say of it."""


class Golden(_Model):
    """The golden frames of a bundle."""

    sha256: Digest
    """Of `golden.safetensors`."""

    references: str
    """What scores and maps were computed with: torch's version, or OpenVINO's and its precision."""

    frames: tuple[GoldenEntry, ...] = Field(min_length=1)


class Manifest(_Model):
    """The manifest of a bundle, format 2."""

    format: Literal[2] = FORMAT
    product: str
    kind: KindName
    backbone: str
    layers: tuple[str, ...] = Field(min_length=1)
    size_px: Count
    """The frame, or the box around its inspect regions, or each tile of it, is resized to this width
    and height."""

    grid: tuple[Count, Count]
    """Patches from top to bottom and from left to right: the size of a tile's anomaly map."""

    tiling: Tiling | None = None
    """None: what is judged is one tile, however large."""

    contrast: Contrast = "global"
    """What the backbone sees: grey levels as they are, or local contrast."""

    precision: GraphPrecision = "f32"
    """What the graph is meant to be computed in; int8: its weights and features are multiples of steps."""

    feature_step: float | None = Field(default=None, gt=0)
    """By what the features and the bank are multiples of, 128 at most; None: they are any numbers."""

    pose: PoseReference | None = None
    """What every frame's part is aligned to before it is judged; None: frames are judged as they are."""

    trials: tuple[Trial, ...] = ()
    """What tile size, layers and contrast were chosen from, where learning was left to choose; of the first
    learning."""

    kind_trial: KindTrial | None = None
    """What the kind was chosen from; None where it was given, or could not be compared."""

    features: Count
    """Features of a patch: the columns of the memory bank."""

    training: Training | None = None
    """None: nothing was trained; the graph is that of its backbone."""

    weighs_regions: bool = False
    """Whether its graph was exported since regions have sensitivities; see `takes_sensitivities`."""

    weights_sha256: Digest
    graph_sha256: Digest
    bank_sha256: Digest
    golden: Golden
    bank_rows: Count
    bank_rows_learned: Count
    """The rows that were asked for when the product was first learned; updates add none beyond them."""

    coverage: float = Field(ge=0)
    """No patch the bank was chosen from lies farther than this from its nearest row."""

    seed: int = Field(ge=0)
    good: tuple[Source, ...] = Field(min_length=1)
    """The good images, in order; the bank's origins are positions in here."""

    regions: tuple[Region, ...] = ()
    calibration: Calibration
    learned_at: datetime
    parent: Digest | None = None
    """The bundle that this one was made from by adding images."""

    partgate: str
    """The version of partgate that made it."""

    libraries: dict[str, str]

    @property
    def bank_form(self) -> BankForm:
        """What the rows of the bank are."""
        return "patches" if self.kind in {"drawn", "patchcore"} else "affine"

    @property
    def bank_columns(self) -> int:
        """How many numbers a row of the bank file has."""
        return self.features + (self.bank_form == "affine")

    @property
    def takes_sensitivities(self) -> bool:
        """Whether the graph finds the worst patches where regions count differently.

        An older one with a memory bank orders its first look as if they counted by their roots.
        """
        return self.weighs_regions or self.bank_form == "affine"

    @property
    def n_good(self) -> int:
        """How many good images it was learned from."""
        return len(self.good)
