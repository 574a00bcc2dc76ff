"""Learning a product: from good images to a registered model and its recipe."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlmodel import Session

from partgate.records import (
    Active,
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
from partgate.retraining._camera_regions import check_cameras_of_regions
from partgate.retraining._contradictions import refuse_both
from partgate.retraining._image_health import learn_references, mixtures
from partgate.retraining._images import keep_snapshot
from partgate.retraining._scores import for_json, score_images
from partgate.retraining._seen import lowest, what_was_seen
from partgate.retraining._steps import StepTimes
from partgate_engines import Bundle
from partgate_engines.anomaly import DefectImage, GoodImage, Learned, LearnSettings, Progress, learn
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
    marked: Sequence[DefectImage] = (),
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
        marked: those of them that have masks: some kinds learn from these, and then they are not scored.

    Raises:
        DataError: there are no good images, one of them cannot be learned from, or some are given as
            defective as well.
        ConfigError: a region does not fit into the images, or belongs to a camera that did not take them.
    """
    _check(product, good, recipe)
    times = StepTimes.of(progress)
    refuse_both(good, defective, times)
    _check_cameras(database, good, recipe)
    learned = learn(
        good,
        settings=settings,
        regions=recipe.regions,
        graphs=home.graphs_path,
        progress=times,
        defects=marked,
    )
    kept = learned.kept(good)
    times("golden frames", 0, 1)
    bundle = learned.save(
        home.bundles_path,
        product=product,
        signer=Keys(home).signer(),
        good=kept,
        weights=settings.weights,
    )
    times("golden frames", 1, 1)
    with database.read() as session:
        references = learn_references(session, kept)
        now = active(session, product)
    full_recipe = Recipe(
        product=product,
        thresholds=learned.calibration.thresholds,
        image_references=references,
        **(_settings_of(recipe) | {"regions": learned.regions}),
    )
    report = learned_report(learned, bundle, full_recipe, _unknown(defective, marked, learned), times)
    report |= what_was_seen(learned, bundle, good)
    report |= {"image_warnings": mixtures(references), "made_from": made_from(now)}
    times("keeping the images", 0, 1)
    snapshot = keep_snapshot(ImageStore(home), kept, defective)
    times("keeping the images", 1, 1)
    report["seconds_per_step"] = times.seconds()
    return database.write(
        lambda session: register(
            session, bundle=bundle, recipe=full_recipe, report=report, snapshot=snapshot, by=by
        )
    ).result()


def _check_cameras(database: Database, good: Sequence[GoodImage], recipe: RecipeSettings) -> None:
    if any(region.camera_id is not None for region in recipe.regions):  # else no image is decoded for it
        with database.read() as session:
            check_cameras_of_regions(session, recipe.regions, [image.origin for image in good])


def _check(product: str, good: Sequence[GoodImage], recipe: RecipeSettings) -> None:
    check_name(product, what="product")
    if not good:
        raise DataError(
            f"no images to learn '{product}' from: 0 found, at least 1 is needed, 20 or more are advised"
            " (PNG, JPEG, TIFF, BMP)"
        )
    for image in good if recipe.regions else ():  # where there are none, no image is decoded for it
        height_px, width_px = image.pixels.shape[:2]
        recipe.check_regions(width_px=width_px, height_px=height_px)


def _unknown(
    defective: Sequence[GoodImage], marked: Sequence[DefectImage], learned: Learned
) -> Sequence[GoodImage]:
    """Return the defective images that were not learned from: only those say how well they are found."""
    if learned.training is None or not learned.training.defects:
        return defective
    known = {image.origin for image in marked}
    return [image for image in defective if image.origin not in known]


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
        "good_images": len(learned.good),
        "bank_rows": len(learned.bank.rows),
        "calibration": learned.calibration.model_dump(mode="json"),
        "kind": learned.kind,
        "way": {
            "precision": learned.precision,
            "layers": list(learned.layers),
            "contrast": learned.contrast,
            "tile_px": None if learned.tiling is None else learned.tiling.tile_px,
            "aligned": learned.pose is not None,
        },
    }
    if learned.training is not None:
        report["training"] = learned.training.model_dump(mode="json")
    if learned.trials:
        report["contrast"], report["layers"] = learned.contrast, list(learned.layers)
        report["tile_px"] = None if learned.tiling is None else learned.tiling.tile_px
        report["trials"] = [trial.model_dump(mode="json") for trial in learned.trials]
        if learned.kind_trial is not None:
            report["kind_trial"] = learned.kind_trial.model_dump(mode="json")
    if defective:
        scores = score_images(bundle, defective, recipe.regions, progress, step="scoring defects")
        verdicts = [recipe.thresholds.verdict(score) for score in scores]
        report["defective_images"] = len(defective)
        report["defective_lowest"] = lowest(defective, scores)
        report["defective_scores"] = [for_json(score) for score in scores]
        report["defective_flagged"] = sum(verdict is not Verdict.ACCEPT for verdict in verdicts)
    return report


def made_from(now: Active | None) -> dict[str, int] | None:
    """Return which recipe was in force when a model was made, ready for JSON; None: its product was new."""
    return None if now is None else {"recipe_id": now.recipe_id}


def register(
    session: Session,
    *,
    bundle: Bundle,
    recipe: Recipe,
    report: dict[str, Any],
    snapshot: Sequence[LearnedImage],
    by: str,
    parent_id: str | None = None,
    reason: str | None = None,
) -> LearnedProduct:
    """Add a model, its snapshot and a recipe for it; a product's first one becomes active.

    Args:
        reason: kept with the recipe; None says whether it was learned or retrained.
    """
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
    usual = "learned" if parent_id is None else f"retrained from {parent_id[:12]}"
    row = add_recipe(session, recipe=recipe, model_id=model.id, by=by, reason=reason or usual)
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
