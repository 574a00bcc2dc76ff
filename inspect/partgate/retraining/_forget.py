"""Taking images out of what a product was learned from: a part that was good turned out not to be."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlmodel import Session

from partgate.records import (
    Active,
    Database,
    Finding,
    Home,
    ImageStore,
    Keys,
    LearnedImage,
    Model,
    StoreError,
    active,
)
from partgate.retraining._candidate import add_candidate, candidate_report
from partgate.retraining._hand_set import HandSet, hand_set, wanted_budget
from partgate.retraining._images import good_images, snapshot_of
from partgate.retraining._learn import LearnedProduct
from partgate.retraining._scores import for_json, score_images
from partgate.retraining._steps import StepTimes
from partgate_engines import Bundle
from partgate_engines.anomaly import Progress, forget, positions_of, rows_by_image
from partgate_station import DataError, Recipe

_NAMED = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgettable:
    """What forgetting some images means for a product's active model."""

    now: Active
    bundle: Bundle
    snapshot: tuple[LearnedImage, ...]
    held: HandSet | None
    """What a person has set the thresholds to; None: they came with the model."""

    positions: tuple[int, ...]
    """Among the good images, ascending."""

    images: tuple[dict[str, Any], ...]
    """Of each: `image`, its origin, `sha256` in the image store, and `rows` it brought to the bank."""


def forgettable(home: Home, database: Database, product: str, names: Collection[str]) -> Forgettable:
    """Return what forgetting these images means; nothing is changed.

    Args:
        names: origins, file names or parts' ids; copies of an image go with it.

    Raises:
        StoreError: the product has no active model.
        DataError: it was not learned from one of them.
    """
    with database.read() as session:
        now = active_model(session, product)
        snapshot = snapshot_of(session, now.model_id)
        bundle = Bundle.open(home.bundles_path / now.model_id, trusted=Keys(home).trusted())
        held = hand_set(session, now, bundle.manifest.calibration)
    sources, bank = bundle.manifest.good, bundle.bank()
    found = positions_of(sources, names)
    if missing := [name for name in names if not found[name]]:
        raise DataError(_not_there(product, now.model_id, missing, [source.origin for source in sources]))
    positions = tuple(sorted({position for places in found.values() for position in places}))
    good = [entry for entry in snapshot if entry.finding is Finding.GOOD]
    rows = rows_by_image(bank, len(sources)) if bank.form == "patches" else None
    images = tuple(
        {
            "image": sources[n].origin,
            "sha256": good[n].image_sha256,
            "rows": None if rows is None else int(rows[n]),
        }
        for n in positions
    )
    return Forgettable(
        now=now, bundle=bundle, snapshot=snapshot, held=held, positions=positions, images=images
    )


def forget_images(
    home: Home, database: Database, what: Forgettable, *, by: str, reason: str, progress: Progress
) -> LearnedProduct:
    """Make a candidate from the active model without some of its images, thresholds calibrated anew.

    Args:
        what: as `forgettable` returned it.
        by: who, for the trail.
        reason: why; kept with the candidate's recipe and in the trail.

    Raises:
        DataError: no image would be left, or the model's kind cannot be changed without training.
    """
    times, store, recipe = StepTimes.of(progress), ImageStore(home), what.now.recipe
    learned = forget(
        what.bundle,
        good=good_images(store, what.snapshot),
        forgotten=what.positions,
        regions=recipe.regions,
        budget=wanted_budget(what.held, what.bundle.manifest.calibration),
        progress=times,
    )
    entries = _without(what.snapshot, what.positions)
    good = good_images(store, entries)
    bundle = learned.save(home.bundles_path, product=recipe.product, signer=Keys(home).signer(), good=good)
    changed = recipe.model_copy(
        update={"thresholds": learned.calibration.thresholds, "regions": learned.regions}
    )
    report = {
        "forgotten": _judged(store, what, bundle, changed, times),
        **candidate_report(
            parent=what.bundle, now=what.now, learned=learned, bundle=bundle, good=good, held=what.held
        ),
        "seconds_per_step": times.seconds(),
    }
    return database.write(
        lambda session: add_candidate(
            session,
            bundle=bundle,
            recipe=changed,
            report=report,
            snapshot=entries,
            by=by,
            parent_id=what.bundle.id,
            reason=reason,
        )
    ).result()


def _judged(
    store: ImageStore, what: Forgettable, bundle: Bundle, recipe: Recipe, progress: Progress
) -> list[dict[str, Any]]:
    """Return what is forgotten, with the score and verdict that it gets now: is the defect seen again?

    One whose image is missing gets no score: that may be why it is forgotten.
    """
    there = [number for number, one in enumerate(what.images) if store.has(one["sha256"])]
    images = good_images(store, what.snapshot).only([what.positions[number] for number in there])
    found = score_images(bundle, images, recipe.regions, progress, step="scoring what was forgotten")
    known = dict(zip(there, found, strict=True))
    scores = [known.get(number, float("nan")) for number in range(len(what.images))]
    return [
        {**one, "score": for_json(score), "verdict": recipe.thresholds.verdict(score).value}
        for one, score in zip(what.images, scores, strict=True)
    ]


def forgotten_before(session: Session, model_id: str) -> frozenset[str]:
    """Return the images, by their hashes in the store, that a model or one it was made from forgot.

    Retraining does not bring them back by itself: QA's finding that made them good still stands.
    """
    gone: set[str] = set()
    current: str | None = model_id
    while current is not None and (model := session.get(Model, current)) is not None:
        gone.update(entry["sha256"] for entry in model.report.get("forgotten", ()))
        current = model.parent_id
    return frozenset(gone)


def active_model(session: Session, product: str) -> Active:
    """Return what judges a product's parts.

    Raises:
        StoreError: the product has no active model.
    """
    now = active(session, product)
    if now is None:
        raise StoreError(
            f"'{product}' has no active model; learn it first: partgate learn {product} --good DIR"
        )
    return now


def _without(snapshot: Sequence[LearnedImage], positions: Collection[int]) -> tuple[LearnedImage, ...]:
    good = [entry for entry in snapshot if entry.finding is Finding.GOOD]
    gone = {id(good[position]) for position in positions}
    return tuple(entry for entry in snapshot if id(entry) not in gone)


def _not_there(product: str, model_id: str, missing: Sequence[str], known: Sequence[str]) -> str:
    shown = ", ".join(known[:_NAMED]) + (f" and {len(known) - _NAMED} more" if len(known) > _NAMED else "")
    return (
        f"model {model_id[:12]} of '{product}' was not learned from {', '.join(missing)}; it was learned from"
        f" {shown}"
    )
