"""A better model from what QA decided: overturned parts join the memory bank."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from partgate.records import Active, Database, Finding, Home, ImageStore, Keys, LearnedImage
from partgate.retraining._candidate import add_candidate, candidate_report
from partgate.retraining._forget import active_model, forgotten_before
from partgate.retraining._hand_set import HandSet, hand_set, wanted_budget
from partgate.retraining._images import good_images, snapshot_of
from partgate.retraining._learn import LearnedProduct
from partgate.retraining._reviewed import (
    ReviewedFrame,
    flagged,
    images_of,
    overturned,
    reviewed_frames,
    reviewed_report,
    unlike_others,
)
from partgate.retraining._scores import for_json
from partgate.retraining._seen import held_out
from partgate.retraining._steps import StepTimes
from partgate_engines import Bundle
from partgate_engines.anomaly import Learned, Progress, not_located, update
from partgate_station import DataError, Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class _Given:
    """What retraining starts from."""

    now: Active
    bundle: Bundle
    held: HandSet | None
    snapshot: tuple[LearnedImage, ...]
    """Of the candidate: the good images, those that come among them last, then the defective ones."""

    fresh: tuple[ReviewedFrame, ...]
    reviewed: tuple[ReviewedFrame, ...]
    not_located: tuple[tuple[str, str], ...]
    """Images that would be learned if their part lay where it may, and why not."""

    left_out: int
    """Reviewed frames that did not look as learned."""


def retrain_product(
    home: Home, database: Database, product: str, *, by: str, progress: Progress
) -> LearnedProduct:
    """Make a candidate from the active model and the good parts that QA overturned.

    The candidate keeps the memory bank and the graph of the active model; what is added carries the
    part's id as its origin. Its thresholds are calibrated anew on every good image there is: for the budget
    that a person has set since, or else for the model's. Numbers that a person has set are not kept; the
    report says where they stood.

    Raises:
        StoreError: the product has no active model.
        DataError: no part was overturned since the active model was made.
    """
    times = StepTimes.of(progress)
    given, store, keys = _given(home, database, product), ImageStore(home), Keys(home)
    now, parent = given.now, given.bundle
    good = good_images(store, given.snapshot)
    before = parent.manifest.n_good
    learned = update(
        parent,
        good=good[:before],
        added=good[before:],
        regions=now.recipe.regions,
        budget=wanted_budget(given.held, parent.manifest.calibration),
        progress=times,
    )
    bundle = learned.save(home.bundles_path, product=product, signer=keys.signer(), good=good)
    recipe = now.recipe.model_copy(
        update={"thresholds": learned.calibration.thresholds, "regions": learned.regions}
    )
    report = {
        "added_parts": sorted({str(frame.part_id) for frame in given.fresh}),
        "added": _added(given.fresh, learned),
        "odd": unlike_others(given.fresh, held_out(learned), now.recipe.thresholds.reject),
        "image_health_left_out": given.left_out,
        "not_located": [{"image": image, "why": why} for image, why in given.not_located],
        "good_set": _good_set(parent, now.recipe, learned, recipe, added=len(given.fresh)),
        **candidate_report(
            parent=parent, recipe=now.recipe, learned=learned, bundle=bundle, good=good, held=given.held
        ),
        **reviewed_report(store, (parent, now.recipe), (bundle, recipe), given.reviewed, times),
        "seconds_per_step": times.seconds(),
    }
    return database.write(
        lambda session: add_candidate(
            session,
            bundle=bundle,
            recipe=recipe,
            report=report,
            snapshot=given.snapshot,
            by=by,
            parent_id=parent.id,
            reason=f"retrained from {parent.id[:12]}",
        )
    ).result()


def _given(home: Home, database: Database, product: str) -> _Given:
    with database.read() as session:
        now = active_model(session, product)
        snapshot = snapshot_of(session, now.model_id)
        known = reviewed_frames(session, product)
        forgotten = forgotten_before(session, now.model_id)
        bundle = Bundle.open(home.bundles_path / now.model_id, trusted=Keys(home).trusted())
        held = hand_set(session, now, bundle.manifest.calibration)
    reviewed = tuple(frame for frame in known if not frame.is_unfit)
    fresh = tuple(f for f in overturned(reviewed, snapshot) if f.image_sha256 not in forgotten)
    lost = not_located(images_of(ImageStore(home), fresh), bundle.manifest.pose)
    located = tuple(frame for number, frame in enumerate(fresh) if number not in lost)
    if not located:
        raise DataError(_nothing_to_learn(product, known, lost=len(lost)))
    return _Given(
        now=now,
        bundle=bundle,
        held=held,
        snapshot=_with_added(snapshot, located),
        fresh=located,
        not_located=tuple((fresh[number].origin, why) for number, why in lost.items()),
        reviewed=reviewed,
        left_out=len(known) - len(reviewed),
    )


def _nothing_to_learn(product: str, reviewed: Sequence[ReviewedFrame], *, lost: int) -> str:
    parts = len({frame.part_id for frame in reviewed})
    unfit = len({frame.part_id for frame in reviewed if frame.is_unfit})
    left_out = f" ({unfit} of them are left out: their images did not look as learned)" if unfit else ""
    left_out += f" ({lost} images are left out: their part does not lie where it may)" if lost else ""
    return (
        f"nothing new to learn for '{product}': {parts} reviewed parts with images{left_out},"
        " none of them a flagged part that QA found good and the active model does not know."
        " Overturn false rejects in `partgate review`"
    )


def _with_added(snapshot: Sequence[LearnedImage], fresh: Sequence[ReviewedFrame]) -> tuple[LearnedImage, ...]:
    """Return the candidate's snapshot: good images first, as the memory bank counts them."""
    good = [entry for entry in snapshot if entry.finding is Finding.GOOD]
    defective = [entry for entry in snapshot if entry.finding is Finding.DEFECTIVE]
    added = [
        LearnedImage(
            image_sha256=frame.image_sha256,
            origin=frame.origin,
            finding=Finding.GOOD,
            part_id=frame.part_id,
        )
        for frame in fresh
    ]
    return (*good, *added, *defective)


def _added(fresh: Sequence[ReviewedFrame], learned: Learned) -> list[dict[str, Any]]:
    """Return the images that came, and what each scores by what all the others brought."""
    scores, before = held_out(learned), len(learned.good) - len(fresh)
    return [
        {
            "image": frame.origin,
            "sha256": frame.image_sha256,
            "position": position,
            "score": for_json(float(score)),
        }
        for position, (frame, score) in enumerate(zip(fresh, scores[before:], strict=True), start=before)
    ]


def _good_set(
    bundle: Bundle, recipe: Recipe, learned: Learned, new_recipe: Recipe, *, added: int
) -> dict[str, Any]:
    """Return how many of the good images are flagged, each scored without what it brought itself."""
    old_scores = bundle.manifest.calibration.scores
    new_scores = learned.held_out_scores.tolist()
    return {
        "images_before": len(old_scores),
        "flagged_before": flagged(old_scores, recipe),
        "images_after": len(new_scores),
        "flagged_after": flagged(new_scores, new_recipe),
        "flagged_after_of_the_old_ones": flagged(new_scores[: len(new_scores) - added], new_recipe),
    }
