"""A home with a learned product in force, and a station's file, as a line would have them."""

import contextlib
from pathlib import Path

from sqlmodel import Session

from benchmarks._bundles import learned_product, saved
from partgate.records import Database, Home, Keys, activate, add_model, add_recipe
from partgate_station import Recipe

PRODUCT = "brick"
STATION = """\
schema_version = 1
station_id = "bench"
product = "brick"
runtime = "openvino"

[trigger]
kind = "continuous"

[[cameras]]
kind = "virtual"
camera_id = "top"
seed = 1
size_px = 320
"""


def prepared_home(folder: Path, name: str) -> Home:
    """Learn the virtual line's bricks and put them into force in a new home.

    Args:
        folder: of what was learned and exported before.
        name: of the home, in that folder.
    """
    home = Home.open(folder / name)
    signer = Keys(home).signer()
    bundle = saved(learned_product(folder), home.path, signer=signer)
    recipe = Recipe(product=PRODUCT, thresholds=bundle.manifest.calibration.thresholds)

    def register(session: Session) -> None:
        add_model(session, model_id=bundle.id, product=PRODUCT, kind="patchcore", by="benchmark")
        row = add_recipe(session, recipe=recipe, model_id=bundle.id, by="benchmark", reason="")
        activate(session, recipe_id=row.key, by="benchmark", reason="")

    with contextlib.closing(Database.open(home)) as database:
        database.write(register).result()
    return home


def station_file(folder: Path) -> Path:
    """Write the file of a virtual station that waits for nothing between parts."""
    path = folder / "station.toml"
    path.write_text(STATION)
    return path
