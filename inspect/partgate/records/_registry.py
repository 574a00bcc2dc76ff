"""Models, recipes, and which recipe a product is judged by. Every change is audited with itself."""

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from sqlmodel import Session, col, func, select

import partgate_station
from partgate.records import audit
from partgate.records._canonical import canonical, sha256
from partgate.records._errors import RegistryError, StoreDamaged
from partgate.records._tables import Activation, Finding, Model, Recipe, SnapshotImage, Station


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnedImage:
    """An image a model was learned from or calibrated on; its position is its place in the sequence."""

    image_sha256: str
    origin: str
    finding: Finding
    part_id: uuid.UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Active:
    """What judges a product's parts at this moment."""

    activation_id: int
    recipe_id: int
    recipe: partgate_station.Recipe
    model_id: str


def add_station(session: Session, *, station_id: str, name: str = "") -> Station:
    """Return a station's row, made or renamed as needed; an empty name leaves the one there is."""
    row = session.get(Station, station_id) or Station(id=station_id, name=name or station_id)
    if name:
        row.name = name
    session.add(row)
    session.flush()
    return row


def add_model(
    session: Session,
    *,
    model_id: str,
    product: str,
    kind: str,
    by: str,
    report: Mapping[str, Any] | None = None,
    parent_id: str | None = None,
    images: Sequence[LearnedImage] = (),
) -> Model:
    """Register a learned model whose bundle lies in the home already.

    Args:
        session: one that `Database.write` gave.
        model_id: the bundle's content hash.
        product: what it was learned for.
        kind: the model's kind, such as `patchcore`.
        by: who had it learned.
        report: JSON values; how it was learned and how well it does.
        parent_id: the model it was made from.
        images: in the order of learning.

    Raises:
        RegistryError: the model is registered already, or its parent is not.
    """
    if session.get(Model, model_id) is not None:
        raise RegistryError(f"model {model_id[:12]} is registered already")
    if parent_id is not None:
        _model(session, parent_id)
    row = Model(
        id=model_id,
        product=product,
        kind=kind,
        parent_id=parent_id,
        report=canonical(dict(report or {}))[0],
        created_by=by,
    )
    session.add(row)
    session.flush()
    session.add_all(_snapshot(model_id, images))
    after = {"product": product, "kind": kind, "parent_id": parent_id, "images": len(images)}
    audit.append(session, who=by, what="model.add", subject=f"model:{model_id}", after=after)
    return row


def add_recipe(
    session: Session, *, recipe: partgate_station.Recipe, model_id: str, by: str, reason: str
) -> Recipe:
    """Add the next version of a product's recipe.

    Raises:
        RegistryError: the model is not registered, or was learned for another product.
    """
    model = _model(session, model_id)
    if model.product != recipe.product:
        raise RegistryError(
            f"model {model_id[:12]} was learned for product '{model.product}',"
            f" the recipe is for '{recipe.product}'"
        )
    content = recipe.model_dump(mode="json")
    latest = session.exec(select(func.max(Recipe.version)).where(Recipe.product == recipe.product)).one()
    row = Recipe(
        product=recipe.product,
        version=(latest or 0) + 1,
        model_id=model_id,
        content=content,
        sha256=sha256(content),
        created_by=by,
        reason=reason,
    )
    session.add(row)
    session.flush()
    after = {"product": row.product, "version": row.version, "model_id": model_id, "sha256": row.sha256}
    audit.append(session, who=by, what="recipe.add", subject=f"recipe:{row.id}", after=after, why=reason)
    return row


def activate(session: Session, *, recipe_id: int, by: str, reason: str) -> Activation:
    """Make a recipe the active one of its product.

    Raises:
        RegistryError: there is no such recipe.
    """
    return _activate(session, recipe_id, by=by, reason=reason, what="recipe.activate")


def rollback(session: Session, product: str, *, by: str, reason: str) -> Activation:
    """Go back to the recipe that was active before the present one; again, to the one before that.

    Raises:
        RegistryError: there is no earlier recipe.
    """
    trail = _trail(session, product)
    if not trail:
        hint = partgate_station.did_you_mean(product, known_products(session))
        raise RegistryError(f"no product '{product}' was ever active{hint}")
    if len(trail) < 2:  # noqa: PLR2004 - the present one and the one before
        raise RegistryError(f"product '{product}' has no earlier recipe to go back to")
    return _activate(session, trail[-2], by=by, reason=reason, what="recipe.rollback")


def active(session: Session, product: str) -> Active | None:
    """Return what judges a product's parts, None if nothing was ever activated.

    Raises:
        StoreDamaged: the recipe's row is not what was written.
    """
    latest = _latest(session, product)
    if latest is None or latest.id is None:
        return None
    row = _recipe(session, latest.recipe_id)
    return Active(
        activation_id=latest.id, recipe_id=latest.recipe_id, recipe=read_recipe(row), model_id=row.model_id
    )


def latest_recipe(session: Session, model_id: str) -> Recipe:
    """Return the newest recipe that judges by a model.

    Raises:
        RegistryError: the model is not registered, or no recipe judges by it.
    """
    _model(session, model_id)
    statement = select(Recipe).where(Recipe.model_id == model_id).order_by(col(Recipe.version).desc())
    row = session.exec(statement.limit(1)).first()
    if row is None:
        raise RegistryError(f"model {model_id[:12]} has no recipe; `partgate learn` adds one with the model")
    return row


def known_products(session: Session) -> Sequence[str]:
    """Return the names of all products that have a recipe, in order."""
    return session.exec(select(Recipe.product).distinct().order_by(Recipe.product)).all()


def models(session: Session, product: str | None = None) -> Sequence[Model]:
    """Return the registered models, newest first."""
    statement = select(Model).order_by(col(Model.created_at).desc(), col(Model.id))
    if product is not None:
        statement = statement.where(Model.product == product)
    return session.exec(statement).all()


def recipes(session: Session, product: str) -> Sequence[Recipe]:
    """Return the versions of a product's recipe, newest first."""
    statement = select(Recipe).where(Recipe.product == product).order_by(col(Recipe.version).desc())
    return session.exec(statement).all()


def read_recipe(row: Recipe) -> partgate_station.Recipe:
    """Return the recipe that a row holds.

    Raises:
        StoreDamaged: its content does not have its hash, or is no recipe of this program.
    """
    if sha256(row.content) != row.sha256:
        raise StoreDamaged(
            f"recipe {row.id} ({row.product} version {row.version}) was changed after it was added"
        )
    try:
        return partgate_station.Recipe.model_validate_json(json.dumps(row.content))
    except ValidationError as error:
        raise StoreDamaged(
            f"recipe {row.id} ({row.product} version {row.version}) cannot be read: {error}"
        ) from error


def _snapshot(model_id: str, images: Sequence[LearnedImage]) -> list[SnapshotImage]:
    return [
        SnapshotImage(
            model_id=model_id,
            position=position,
            image_sha256=image.image_sha256,
            origin=image.origin,
            part_id=image.part_id,
            finding=image.finding,
        )
        for position, image in enumerate(images)
    ]


def _model(session: Session, model_id: str) -> Model:
    row = session.get(Model, model_id)
    if row is None:
        raise RegistryError(f"model {model_id[:12]} is not registered; `partgate models list` shows what is")
    return row


def _recipe(session: Session, recipe_id: int) -> Recipe:
    row = session.get(Recipe, recipe_id)
    if row is None:
        raise RegistryError(f"recipe {recipe_id} is not there; `partgate models list` shows what is")
    return row


def _latest(session: Session, product: str) -> Activation | None:
    statement = select(Activation).where(Activation.product == product).order_by(col(Activation.id).desc())
    return session.exec(statement.limit(1)).first()


def _activate(session: Session, recipe_id: int, *, by: str, reason: str, what: str) -> Activation:
    recipe = _recipe(session, recipe_id)
    previous = _latest(session, recipe.product)
    row = Activation(product=recipe.product, recipe_id=recipe_id, by=by, reason=reason)
    session.add(row)
    session.flush()
    audit.append(
        session,
        who=by,
        what=what,
        subject=f"product:{recipe.product}",
        before=None if previous is None else {"recipe_id": previous.recipe_id},
        after={"recipe_id": recipe_id, "version": recipe.version, "model_id": recipe.model_id},
        why=reason,
    )
    return row


def _trail(session: Session, product: str) -> list[int]:
    """Return the recipes that led to the present one, oldest first.

    Activating the recipe before the present one is going back, however it came about: so that two
    rollbacks from A, B, C lead to A, not to C again.
    """
    trail: list[int] = []
    statement = select(Activation.recipe_id).where(Activation.product == product).order_by(col(Activation.id))
    for recipe_id in session.exec(statement):
        if trail[-2:-1] == [recipe_id]:
            trail.pop()
        elif trail[-1:] != [recipe_id]:
            trail.append(recipe_id)
    return trail
