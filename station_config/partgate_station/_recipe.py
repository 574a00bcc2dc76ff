"""The recipe: all that a product adds to a station."""

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from partgate_station._errors import ConfigError
from partgate_station._image_reference import ImageReference
from partgate_station._model import FileModel, Name
from partgate_station._verdict import Thresholds, Verdict

MIN_VERTICES = 3
_LEAST, _MOST = 0.05, 20.0  # what counts less is better ignored; what counts more is noise
Vertex = tuple[Annotated[float, Field(ge=0)], Annotated[float, Field(ge=0)]]


class Region(FileModel):
    """A polygon in the frame, in pixels of the frame as the camera gives it.

    Convention: vertices are (x, y), x to the right, y down, the origin in the upper left corner.
    """

    SENSITIVITIES: ClassVar[tuple[float, float]] = (_LEAST, _MOST)
    """The least and the most that one may be."""

    use: Literal["inspect", "ignore"] = "inspect"
    """`inspect`: only what lies in such a region is judged. `ignore`: what lies in it is not."""

    camera_id: Name | None = None
    """The camera whose frames it belongs to; without one, every camera's."""

    name: Name | None = None
    """What an `inspect` region is called in reports and where its limits are changed."""

    sensitivity: Annotated[float, Field(ge=_LEAST, le=_MOST)] | None = None
    """How many times what lies in an `inspect` region counts, in score and map; None: once, until learning
    sets it for a region that has a name."""

    polygon: tuple[Vertex, ...]

    @field_validator("polygon")
    @classmethod
    def _encloses_an_area(cls, polygon: tuple[Vertex, ...]) -> tuple[Vertex, ...]:
        if len(polygon) < MIN_VERTICES:
            raise ValueError(
                f"{len(polygon)} vertices enclose nothing; a region needs at least {MIN_VERTICES}"
            )
        # Here, not above: a camera's and the recorder's process read station files too, and draw nothing.
        import shapely

        shape = shapely.Polygon(polygon)
        if shape.area == 0:
            raise ValueError("the region is empty: its vertices lie on one line")
        if not shape.is_valid:
            raise ValueError(f"the outline crosses itself ({shapely.is_valid_reason(shape)})")
        return polygon

    @model_validator(mode="after")
    def _what_is_ignored_has_no_limits(self) -> Self:
        for key in ("name", "sensitivity"):
            if self.use == "ignore" and getattr(self, key) is not None:
                raise ValueError(f"{key} {getattr(self, key)!r}: only an inspect region has one")
        return self

    @property
    def weight(self) -> float:
        """How many times what lies in it counts."""
        return 1.0 if self.sensitivity is None else self.sensitivity

    def problems(self, *, width_px: int, height_px: int) -> list[str]:
        """Return what is wrong with this region in a frame of that size; empty if it fits."""
        return [
            f"vertex {number} ({x:g}, {y:g}) outside {width_px}×{height_px}"
            for number, (x, y) in enumerate(self.polygon)
            if x > width_px or y > height_px
        ]


class RecipeSettings(FileModel):
    """The part of a recipe that a person writes down before the product is learned."""

    regions: tuple[Region, ...] = ()
    """Without one, the whole frame is judged."""

    deadline_ms: int = Field(default=1000, ge=1, le=600_000)
    """From the trigger to the reject signal. A verdict that is later is UNDECIDED."""

    review_gate: Literal["reject", "accept"] = "reject"
    """How the reject gate treats a part in the review band."""

    @field_validator("regions")
    @classmethod
    def _names_differ(cls, regions: tuple[Region, ...]) -> tuple[Region, ...]:
        names = [region.name for region in regions]
        for number, name in enumerate(names):
            if name is not None and names.index(name) < number:
                raise ValueError(f"[{number}].name: '{name}' is already the name of [{names.index(name)}]")
        return regions

    def check_regions(self, *, width_px: int, height_px: int) -> None:
        """Refuse regions that do not fit into frames of that size.

        Raises:
            ConfigError: names every vertex that lies outside.
        """
        problems = [
            f"regions[{number}]: {problem}"
            for number, region in enumerate(self.regions)
            for problem in region.problems(width_px=width_px, height_px=height_px)
        ]
        if problems:
            raise ConfigError(problems)

    def check_cameras(self, camera_ids: Sequence[str]) -> None:
        """Refuse regions of cameras that the station does not have.

        Raises:
            ConfigError: names the region, its camera and the cameras there are.
        """
        problems = [
            f"regions[{number}].camera_id: no camera '{region.camera_id}' at this station"
            f" (it has {', '.join(camera_ids)})"
            for number, region in enumerate(self.regions)
            if region.camera_id is not None and region.camera_id not in camera_ids
        ]
        if problems:
            raise ConfigError(problems)


class Recipe(RecipeSettings):
    """Everything but the learned model that decides a part's verdict. Versioned, never changed."""

    product: Name
    thresholds: Thresholds

    image_references: tuple[ImageReference, ...] = ()
    """How the good images looked, all of them or by camera; empty: frames are held against nothing."""

    def reference(self, camera_id: str) -> ImageReference | None:
        """Return what a camera's frames are held against; None: nothing is known of how they should look."""
        own = (one for one in self.image_references if one.camera_id == camera_id)
        return next(own, next((one for one in self.image_references if one.camera_id is None), None))

    def region(self, name: str) -> Region:
        """Return the region of that name.

        Raises:
            ConfigError: there is none; names those there are.
        """
        named = {region.name: region for region in self.regions if region.name is not None}
        if name not in named:
            known = f"it has {', '.join(named)}" if named else "none of its regions has a name"
            raise ConfigError(f"no region '{name}' in the recipe of '{self.product}'; {known}")
        return named[name]

    def limits(self, region: Region) -> Thresholds:
        """Return a region's own thresholds: what they are for distances that count once.

        A part whose worst patches all lie in the region is rejected from that `reject` on.
        """
        return Thresholds(
            review=self.thresholds.review / region.weight, reject=self.thresholds.reject / region.weight
        )

    def gate_opens(self, verdict: Verdict) -> bool:
        """Return whether the reject gate lets a part with this verdict pass."""
        return verdict is Verdict.ACCEPT or (verdict is Verdict.REVIEW and self.review_gate == "accept")
