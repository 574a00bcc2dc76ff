"""A home that has learned what the soak's three cameras see."""

import contextlib
from pathlib import Path

from sqlmodel import Session

from benchmarks._bundles import LITE0, learned_product
from benchmarks._frames import good_parts
from benchmarks._soak_cameras import frames_of
from benchmarks._soak_station import PRODUCT, SIMULATOR, VIRTUAL
from benchmarks._soak_stub import DEADLINE_MS
from partgate.records import Database, Home, Keys, activate, add_model, add_recipe
from partgate_engines.anomaly import GoodImage, LearnSettings, learn
from partgate_station import Recipe

IMAGES = 30  # of each camera
SETTINGS = LearnSettings(backbone=LITE0.name, layers=LITE0.layers, size_px=256, bank_rows=2048)


def learned_home(folder: Path) -> Home:
    """Learn a product from images of all three cameras, and put it into force."""
    learned_product(folder)  # exports the graph, in a process of its own
    good = [*good_parts(IMAGES), *_seen()]
    learned = learn(good, settings=SETTINGS, graphs=folder / "graphs")
    home = Home.open(folder / "home")
    bundle = learned.save(home.path / "bundles", product=PRODUCT, signer=Keys(home).signer(), good=good)
    recipe = Recipe(
        product=PRODUCT, thresholds=bundle.manifest.calibration.thresholds, deadline_ms=DEADLINE_MS
    )

    def register(session: Session) -> None:
        add_model(session, model_id=bundle.id, product=PRODUCT, kind="patchcore", by="soak")
        row = add_recipe(session, recipe=recipe, model_id=bundle.id, by="soak", reason="")
        activate(session, recipe_id=row.key, by="soak", reason="")

    with contextlib.closing(Database.open(home)) as database:
        database.write(register).result()
    return home


def _seen() -> list[GoodImage]:
    side = VIRTUAL[1].model_copy(update={"defect_rate": 0.0})
    images = [*frames_of(side, IMAGES), *frames_of(SIMULATOR, IMAGES)]
    return [GoodImage(pixels=image, origin=f"soak {number}") for number, image in enumerate(images)]
