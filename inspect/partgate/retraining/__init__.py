"""Learning a product, improving it, and what both are made of."""

from partgate.retraining._again import StartingPoint, starting_point
from partgate.retraining._candidate import CandidateImages, candidate_images
from partgate.retraining._deferred import DeferredImages
from partgate.retraining._forget import Forgettable, active_model, forget_images, forgettable
from partgate.retraining._images import ReadImages, collected_images, read_images, refusal
from partgate.retraining._in_force import recipe_in_force
from partgate.retraining._learn import LearnedProduct, learn_product
from partgate.retraining._masks import marked_defects
from partgate.retraining._region_facts import region_facts, sensitivity_for
from partgate.retraining._regions import Rescored, change_regions, rescored, with_sensitivity
from partgate.retraining._retrain import retrain_product
from partgate.retraining._since import Since, changed_since, put_candidate_into_force
from partgate.retraining._steps import StepTimes
from partgate.retraining._thresholds import (
    Evidence,
    ThresholdEffect,
    Verdicts,
    change_thresholds,
    effect_of,
    threshold_evidence,
)

__all__ = [
    "CandidateImages",
    "DeferredImages",
    "Evidence",
    "Forgettable",
    "LearnedProduct",
    "ReadImages",
    "Rescored",
    "Since",
    "StartingPoint",
    "StepTimes",
    "ThresholdEffect",
    "Verdicts",
    "active_model",
    "candidate_images",
    "change_regions",
    "change_thresholds",
    "changed_since",
    "collected_images",
    "effect_of",
    "forget_images",
    "forgettable",
    "learn_product",
    "marked_defects",
    "put_candidate_into_force",
    "read_images",
    "recipe_in_force",
    "refusal",
    "region_facts",
    "rescored",
    "retrain_product",
    "sensitivity_for",
    "starting_point",
    "threshold_evidence",
    "with_sensitivity",
]
