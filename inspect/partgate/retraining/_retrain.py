"""A better model from what QA decided: overturned parts join the memory bank, and images that are given."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from partgate.records import Active, Database, Finding, Home, ImageStore, Keys, LearnedImage
from partgate.retraining._camera_regions import check_cameras_of_regions
from partgate.retraining._candidate import add_candidate, candidate_report
from partgate.retraining._contradictions import refuse_learned_defects
from partgate.retraining._forget import active_model, forgotten_before
from partgate.retraining._hand_set import HandSet, hand_set, wanted_budget
from partgate.retraining._images import good_images, snapshot_of
from partgate.retraining._learn import LearnedProduct
from partgate.retraining._newcomers import FolderImages, keep_given, unlike_others
from partgate.retraining._reviewed import (
    ReviewedFrame,
    flagged,
    known_defects_report,
    overturned,
    reviewed_frames,
    reviewed_report,
    still_there,
)
from partgate.retraining._scores import for_json
from partgate.retraining._seen import held_out
from partgate.retraining._steps import StepTimes
from partgate_engines import Bundle
from partgate_engines.anomaly import GoodImage, Learned, Progress, not_located, update
from partgate_station import DataError, Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class _Given:
    """What retraining starts from."""

    now: Active
    bundle: Bundle
    held: HandSet | None
    snapshot: tuple[LearnedImage, ...]
    """Of the candidate: the good images, those that come among them last, then the defective ones."""

    fresh: tuple[LearnedImage, ...]
    """Those that come."""

    folder: FolderImages
    """What was made of the images that were given."""

    reviewed: tuple[ReviewedFrame, ...]
    not_located: tuple[tuple[str, str], ...]
    """Images that would be learned if their part lay where it may, and why not."""

    left_out: int
    """Reviewed frames that did not look as learned."""


def retrain_product(
    home: Home,
    database: Database,
    product: str,
    *,
    images: Sequence[GoodImage] = (),
    skip_bad: bool = False,
    by: str,
    progress: Progress,
) -> LearnedProduct:
    """Make a candidate from the active model, the good parts that QA overturned, and images that are given.

    The candidate keeps the memory bank and the graph of the active model; what is added carries the
    part's id, or the file's name, as its origin. Its thresholds are calibrated anew on every good image
    there is: for the budget that a person has set since, or else for the model's. Numbers that a person has
    set are not kept; the report says where they stood.

    Args:
        images: of good parts, besides those that QA overturned.
        skip_bad: leaves those of them out that are of another size or colour than the product's images.
        by: who, for the trail.
        progress: told of every step.

    Raises:
        StoreError: the product has no active model.
        DataError: nothing new to learn was given or overturned since the active model was made, or images
            that are given are of another kind than the product's, or known to be defective; or QA has since
            found defective what the model was learned from as good.
        ConfigError: a region belongs to a camera, and it did not take all the images.
    """
    times = StepTimes.of(progress)
    given = _given(home, database, product, images, skip_bad=skip_bad, progress=times)
    store, keys = ImageStore(home), Keys(home)
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
        **_came(given, learned),
        "given": _told(given) if images else None,
        "good_set": _good_set(parent, now.recipe, learned, recipe, added=len(given.fresh)),
        **candidate_report(
            parent=parent, now=now, learned=learned, bundle=bundle, good=good, held=given.held
        ),
        **reviewed_report(store, (parent, now.recipe), (bundle, recipe), given.reviewed, times),
        **known_defects_report(store, (parent, now.recipe), (bundle, recipe), given.snapshot, times),
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


def _given(
    home: Home,
    database: Database,
    product: str,
    images: Sequence[GoodImage],
    *,
    skip_bad: bool,
    progress: Progress,
) -> _Given:
    with database.read() as session:
        now = active_model(session, product)
        snapshot = snapshot_of(session, now.model_id)
        known = reviewed_frames(session, product)
        refuse_learned_defects(session, product, snapshot, known)
        known = still_there(ImageStore(home), known)
        forgotten = forgotten_before(session, now.model_id)
        bundle = Bundle.open(home.bundles_path / now.model_id, trusted=Keys(home).trusted())
        held = hand_set(session, now, bundle.manifest.calibration)
    store = ImageStore(home)
    reviewed = tuple(frame for frame in known if not frame.is_unfit)
    fresh = overturned(reviewed, snapshot)
    came = [_learned(frame) for frame in fresh if frame.image_sha256 not in forgotten]
    folder = keep_given(
        store,
        images,
        recipe=now.recipe,
        snapshot=(*snapshot, *came),
        defective=_defective(snapshot, known),
        forgotten=forgotten,
        skip_bad=skip_bad,
        progress=progress,
    )
    came += folder.images
    lost = not_located(good_images(store, came), bundle.manifest.pose)
    located = tuple(entry for number, entry in enumerate(came) if number not in lost)
    if not located:
        raise DataError(_nothing_to_learn(product, known, folder if images else None, lost=len(lost)))
    joined = _with_added(snapshot, located)
    with database.read() as session:
        good = [entry.origin for entry in joined if entry.finding is Finding.GOOD]
        check_cameras_of_regions(session, now.recipe.regions, good)
    return _Given(
        now=now,
        bundle=bundle,
        held=held,
        snapshot=joined,
        fresh=located,
        folder=folder,
        not_located=tuple((came[number].origin, why) for number, why in lost.items()),
        reviewed=reviewed,
        left_out=len(known) - len(reviewed),
    )


def _learned(frame: ReviewedFrame) -> LearnedImage:
    return LearnedImage(
        image_sha256=frame.image_sha256, origin=frame.origin, finding=Finding.GOOD, part_id=frame.part_id
    )


def _defective(snapshot: Sequence[LearnedImage], reviewed: Sequence[ReviewedFrame]) -> dict[str, str]:
    """Return where images come from that were given, or found in review, as defective, by their hashes."""
    given = {entry.image_sha256: entry.origin for entry in snapshot if entry.finding is Finding.DEFECTIVE}
    found = {frame.image_sha256: frame.name for frame in reviewed if frame.finding is Finding.DEFECTIVE}
    return given | found


def _by_origin(reviewed: Sequence[ReviewedFrame]) -> Mapping[str, ReviewedFrame]:
    return {frame.origin: frame for frame in reviewed}


def _nothing_to_learn(
    product: str, reviewed: Sequence[ReviewedFrame], folder: FolderImages | None, *, lost: int
) -> str:
    parts = len({frame.part_id for frame in reviewed})
    unfit = len({frame.part_id for frame in reviewed if frame.is_unfit})
    left_out = f" ({unfit} of them are left out: their images did not look as learned)" if unfit else ""
    left_out += f" ({lost} images are left out: their part does not lie where it may)" if lost else ""
    given = "" if folder is None else f"; of the images given {_why_not(folder)}"
    return (
        f"nothing new to learn for '{product}': {parts} reviewed parts with images{left_out},"
        f" none of them a flagged part that QA found good and the active model does not know{given}."
        " Overturn false rejects in `partgate review`, or give images of other good parts: --good DIR"
    )


def _why_not(folder: FolderImages) -> str:
    return (
        f"{folder.known} are known already or given twice, {len(folder.forgotten)} were taken out before by"
        f" `partgate models forget`, {len(folder.misfits)} are of another kind"
    )


def _told(given: _Given) -> dict[str, Any]:
    """Return what of the images that were given is learned and what is not, ready for JSON."""
    folder, fresh = given.folder, {entry.origin for entry in given.fresh}
    return {
        "learned": sum(entry.origin in fresh for entry in folder.images),
        "known": folder.known,
        "forgotten": list(folder.forgotten),
        "left_out": list(folder.misfits),
    }


def _with_added(snapshot: Sequence[LearnedImage], fresh: Sequence[LearnedImage]) -> tuple[LearnedImage, ...]:
    """Return the candidate's snapshot: good images first, as the memory bank counts them."""
    good = [entry for entry in snapshot if entry.finding is Finding.GOOD]
    defective = [entry for entry in snapshot if entry.finding is Finding.DEFECTIVE]
    return (*good, *fresh, *defective)


def _came(given: _Given, learned: Learned) -> dict[str, Any]:
    """Return what came, what of it is odd, and what was left out, ready for JSON."""
    reject = given.now.recipe.thresholds.reject
    return {
        "added_parts": sorted({str(entry.part_id) for entry in given.fresh if entry.part_id is not None}),
        "added": _added(given.fresh, learned),
        "odd": unlike_others(given.fresh, held_out(learned), reject, _by_origin(given.reviewed)),
        "image_health_left_out": given.left_out,
        "not_located": [{"image": image, "why": why} for image, why in given.not_located],
    }


def _added(fresh: Sequence[LearnedImage], learned: Learned) -> list[dict[str, Any]]:
    """Return the images that came, and what each scores by what all the others brought."""
    scores, before = held_out(learned), len(learned.good) - len(fresh)
    return [
        {
            "image": entry.origin,
            "sha256": entry.image_sha256,
            "position": position,
            "score": for_json(float(score)),
        }
        for position, (entry, score) in enumerate(zip(fresh, scores[before:], strict=True), start=before)
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
