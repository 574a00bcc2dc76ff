"""`partgate check` and `partgate status` of a station with a model."""

import json
from pathlib import Path
from typing import Any

from commands import DEMO_PARTS, STATIONS, Done, partgate
from partgate.records import Database, Home, activate, active, add_recipe
from partgate_station import Recipe, Region

VIRTUAL = STATIONS / "virtual.toml"


def checked(home: Path) -> tuple[Done, dict[str, dict[str, Any]]]:
    done = partgate("check", VIRTUAL, "--json", home=home)
    return done, {check["name"]: check for check in json.loads(done.stdout)["checks"]}


def change_recipe(home: Path, **settings: object) -> None:
    """Put a recipe into force that differs from the one there is."""
    with Database.open(Home.open(home)) as database:
        with database.read() as session:
            now = active(session, "brick")
        assert now is not None
        recipe = Recipe.model_validate({**now.recipe.model_dump(), **settings})

        def act(session: Any) -> None:
            row = add_recipe(session, recipe=recipe, model_id=now.model_id, by="test", reason="")
            session.flush()
            activate(session, recipe_id=row.key, by="test", reason="")

        database.write(act).result(timeout=10)


def test_a_station_that_ran_is_fit(demo_home: Path) -> None:
    done, checks = checked(demo_home)
    assert done.returncode == 0, done.stdout
    assert {check["state"] for name, check in checks.items() if name != "disk lasts"} == {"ok"}
    assert "signed by 'home-" in checks["model"]["value"]
    assert checks["parity"]["value"].startswith("proven in openvino")
    assert "median of 5" in checks["deadline"]["value"]
    said = json.loads(partgate("status", "--json", home=demo_home).stdout)
    (station,) = said["stations"]
    assert (station["product"], station["runtime"]) == ("brick", "openvino")
    assert station["model"] == station["active_model"]
    assert station["ledger"]["triggers"] == DEMO_PARTS


def test_a_changed_model_is_unfit(copied_home: Path) -> None:
    (graph,) = (copied_home / "bundles").glob("*/graph.onnx")
    graph.write_bytes(graph.read_bytes() + b"x")
    done, checks = checked(copied_home)
    assert done.returncode == 65
    assert (checks["model"]["state"], "graph.onnx" in checks["model"]["value"]) == ("unfit", True)
    assert "deadline" not in checks


def test_a_region_outside_the_frame_is_unfit(copied_home: Path) -> None:
    region = Region(polygon=((10, 10), (400, 10), (400, 200)))
    change_recipe(copied_home, regions=(region.model_dump(),))
    done, checks = checked(copied_home)
    assert done.returncode == 78
    assert "(400, 10) outside 256×256" in checks["regions"]["value"]


def test_a_deadline_that_cannot_be_kept_and_a_proof_that_is_gone(copied_home: Path) -> None:
    change_recipe(copied_home, deadline_ms=1)
    for proof in (copied_home / "parity").glob("*.json"):
        proof.unlink()
    done, checks = checked(copied_home)
    assert done.returncode == 78
    assert checks["deadline"]["state"] == "unfit"
    assert checks["parity"]["state"] == "note"
