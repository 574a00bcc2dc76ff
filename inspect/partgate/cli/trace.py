"""`partgate models trace`: which learned images vouch for a place in an image."""

import contextlib
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from partgate.cli._app import DEFAULT_HOME, HomeOption, JsonFlag
from partgate.cli._output import out, print_json, print_table, table
from partgate.cli._part_names import StationOption, find_part
from partgate.cli.models import models
from partgate_station import ConfigError, MissingInput

if TYPE_CHECKING:
    from partgate.records import Database, Home
    from partgate_engines.anomaly import GoodImage, Trace


@models.command()
def trace(
    product: Annotated[str, typer.Argument(help="A product with an active model.")],
    image: Annotated[Path | None, typer.Option(help="An image file.")] = None,
    part: Annotated[
        str | None,
        typer.Option(help="A part of the line, by its id, trigger or serial number: its kept frame."),
    ] = None,
    station: StationOption = None,
    at: Annotated[
        str | None,
        typer.Option(metavar="X,Y", help="A place in pixels.", show_default="where the map is highest"),
    ] = None,
    count: Annotated[int, typer.Option(min=1, max=100, help="How many images to name.")] = 5,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonFlag = False,
) -> None:
    """Show which learned images vouch for a place in an image: why is this accepted?

    Each image is named with its nearest row in the memory bank. If one alone lies near a defect, it shows
    the defect too, and `partgate models forget` takes it out.

    Example: `partgate models trace tile --image escaped.png --at 120,44`
    """
    from partgate.records import Database, Home, Keys
    from partgate.retraining import active_model
    from partgate_engines import Bundle
    from partgate_engines.anomaly import Witness

    if (image is None) == (part is None):
        raise typer.BadParameter("give --image FILE or --part NAME, one of the two")
    place = _place(at)
    opened = Home.open(home, create=False)
    with contextlib.closing(Database.open(opened)) as database:
        with database.read() as session:
            now = active_model(session, product)
        shown = _of_file(image) if image else _of_part(opened, database, part or "", station)
    bundle = Bundle.open(opened.bundles_path / now.model_id, trusted=Keys(opened).trusted())
    found = Witness(bundle, now.recipe.regions).trace(shown, at=place, count=count)
    if as_json:
        print_json({"product": product, "model": now.model_id, "image": shown.origin, **asdict(found)})
    else:
        _print(found, shown.origin, now.model_id)


def _place(at: str | None) -> tuple[float, float] | None:
    if at is None:
        return None
    try:
        x, y = (float(value) for value in at.split(","))
    except ValueError:
        raise ConfigError(f"--at {at!r}: expected X,Y in pixels, such as 120,44") from None
    return x, y


def _of_file(path: Path) -> "GoodImage":
    from partgate_cameras import read_image
    from partgate_engines.anomaly import GoodImage

    return GoodImage(pixels=read_image(path), origin=path.name)


def _of_part(home: "Home", database: "Database", part: str, station: str | None) -> "GoodImage":
    from sqlmodel import col, select

    from partgate.records import Frame, ImageState, ImageStore
    from partgate_engines.anomaly import GoodImage

    with database.read() as session:
        wanted = find_part(session, part, station)
        kept = session.exec(
            select(Frame.image_sha256)
            .where(Frame.part_id == wanted, Frame.image_state == ImageState.KEPT)
            .order_by(col(Frame.camera_id))
        ).first()
    if kept is None:
        raise MissingInput(f"part {wanted}: no frame of it is kept in this home")
    return GoodImage(pixels=ImageStore(home).get(kept), origin=f"part:{wanted}")


def _print(found: "Trace", name: str, model_id: str) -> None:
    left, top, right, bottom = found.box
    out.print(
        f"{name}, pixels {left},{top} to {right},{bottom}: {found.distance:.4g} from the nearest row of model"
        f" {model_id[:12]}; what lies within {found.within:.4g} is a near-duplicate.",
        markup=False,
    )
    rows = [[one.origin, one.row, f"{one.distance:.4g}", one.duplicates] for one in found.vouchers]
    print_table(table("", ["image", "nearest row", "distance", "near-duplicates"], rows))
