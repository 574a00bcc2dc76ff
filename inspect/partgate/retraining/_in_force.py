"""A recipe in force replaced by one that differs from it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlmodel import Session

from partgate.records import Active, RegistryError, activate, active, add_recipe, audit
from partgate_station import MissingInput, Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A change of a recipe, as the trail has it."""

    what: str
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    by: str
    reason: str


def recipe_in_force(session: Session, product: str) -> Active:
    """Return what judges a product's parts, to show it or to change it.

    Raises:
        MissingInput: the product has none.
    """
    now = active(session, product)
    if now is None:
        raise MissingInput(
            f"'{product}' has no recipe in force; `partgate models list` shows the products there are"
        )
    return now


def put_into_force(session: Session, recipe: Recipe, change: Change, *, since: Active) -> int:
    """Put a recipe into force in the place of the one that was in force when it was chosen.

    Returns:
        Its version.

    Raises:
        RegistryError: another recipe came into force meanwhile.
    """
    product, by, reason = recipe.product, change.by, change.reason
    now = active(session, product)
    if now is None or now.activation_id != since.activation_id:
        raise RegistryError(
            f"another recipe of '{product}' came into force meanwhile; look at it with"
            f" `partgate recipe show {product}` and decide again"
        )
    row = add_recipe(session, recipe=recipe, model_id=now.model_id, by=by, reason=reason)
    audit.append(
        session,
        who=by,
        what=change.what,
        subject=f"recipe:{row.key}",
        before=dict(change.before),
        after=dict(change.after),
        why=reason,
    )
    activate(session, recipe_id=row.key, by=by, reason=reason)
    return row.version
