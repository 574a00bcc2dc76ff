"""Learning a product: from good images to a registered model and its recipe."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlmodel import Session

from partgate.records import (
    Database,
    Home,
    ImageStore,
    Keys,
    LearnedImage,
    activate,
    active,
    add_model,
    add_recipe,
)
from partgate.retraining._images import keep_snapshot
from partgate.retraining._scores import score_images
from partgate_engines import Bundle
from partgate_engines.anomaly import GoodImage, Learned, LearnSettings, Progress, learn
from partgate_station import DataError, Recipe, RecipeSettings, Thresholds, Verdict, check_name


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnedProduct:
    """What learning a product came to."""

    product: str
    model_id: str
    recipe_version: int
    is_active: bool
    """False for a product that was known already: its active model stays until it is replaced."""
    thresholds: Thresholds
    report: dict[str, Any]


def learn_product(
    home: Home,
    database: Database,
    product: str,
    *,
    good: Sequence[GoodImage],
    defective: Sequence[GoodImage] = (),
    recipe: RecipeSettings,
    settings: LearnSettings,
    by: str,
    progress: Progress,
) -> LearnedProduct:
    """Learn a product from good images, register its bundle and its recipe.

    A product that is new becomes active at once; for a known one the new model is a candidate that
    `activate` puts into force.

    Args:
        defective: only scored for the report; nothing is learned from them.

    Raises:
        DataError: there are no good images, or one of them cannot be learned from.
        ConfigError: a region does not fit into the images.
    """
    _check(product, good, recipe)
    learned = learn(
        good, settings=settings, regions=recipe.regions, graphs=home.graphs_path, progress=progress
    )
    bundle = learned.save(
        home.bundles_path,
        product=product,
        signer=Keys(home).signer(),
        good=good,
        weights=settings.weights,
    )
    full_recipe = Recipe(product=product, thresholds=learned.calibration.thresholds, **_settings_of(recipe))
    report = learned_report(learned, bundle, full_recipe, defective, progress)
    snapshot = keep_snapshot(ImageStore(home), good, defective)
    return database.write(
        lambda session: register(
            session, bundle=bundle, recipe=full_recipe, report=report, snapshot=snapshot, by=by
        )
    ).result()


def _check(product: str, good: Sequence[GoodImage], recipe: RecipeSettings) -> None:
    check_name(product, what="product")
    if not good:
        raise DataError(
            f"no images to learn '{product}' from: 0 found, at least 1 is needed, 20 or more are advised"
            " (PNG, JPEG, TIFF, BMP)"
        )
    for image in good:
        height_px, width_px = image.pixels.shape[:2]
        recipe.check_regions(width_px=width_px, height_px=height_px)


def _settings_of(recipe: RecipeSettings) -> dict[str, Any]:
    return {name: getattr(recipe, name) for name in RecipeSettings.model_fields}


def learned_report(
    learned: Learned,
    bundle: Bundle,
    recipe: Recipe,
    defective: Sequence[GoodImage],
    progress: Progress,
) -> dict[str, Any]:
    """Return what learning saw and how sure the thresholds are, ready for JSON."""
    report: dict[str, Any] = {
        "good_images": len(learned.held_out_scores),
        "bank_rows": len(learned.bank.rows),
        "calibration": learned.calibration.model_dump(mode="json"),
    }
    if learned.trials:
        report["contrast"], report["layers"] = learned.contrast, list(learned.layers)
        report["trials"] = [trial.model_dump(mode="json") for trial in learned.trials]
    if defective:
        scores = score_images(bundle, defective, recipe.regions, progress, step="scoring defects")
        verdicts = [recipe.thresholds.verdict(score) for score in scores]
        report["defective_images"] = len(defective)
        report["defective_scores"] = [round(score, 6) for score in scores]
        report["defective_flagged"] = sum(verdict is not Verdict.ACCEPT for verdict in verdicts)
    return report


def register(
    session: Session,
    *,
    bundle: Bundle,
    recipe: Recipe,
    report: dict[str, Any],
    snapshot: Sequence[LearnedImage],
    by: str,
    parent_id: str | None = None,
) -> LearnedProduct:
    """Add a model, its snapshot and a recipe for it; a product's first one becomes active."""
    model = add_model(
        session,
        model_id=bundle.id,
        product=recipe.product,
        kind=bundle.manifest.kind,
        by=by,
        report=report,
        parent_id=parent_id,
        images=snapshot,
    )
    reason = "learned" if parent_id is None else f"retrained from {parent_id[:12]}"
    row = add_recipe(session, recipe=recipe, model_id=model.id, by=by, reason=reason)
    is_first = active(session, recipe.product) is None
    if is_first:
        activate(session, recipe_id=row.key, by=by, reason="first model of the product")
    return LearnedProduct(
        product=recipe.product,
        model_id=model.id,
        recipe_version=row.version,
        is_active=is_first,
        thresholds=recipe.thresholds,
        report=report,
    )
