"""Learning a product, improving it, and what both are made of."""

from partgate.retraining._deferred import DeferredImages
from partgate.retraining._forget import Forgettable, active_model, forget_images, forgettable
from partgate.retraining._images import ReadImages, collected_images, read_images, refusal
from partgate.retraining._learn import LearnedProduct, learn_product
from partgate.retraining._masks import marked_defects
from partgate.retraining._retrain import retrain_product
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
    "DeferredImages",
    "Evidence",
    "Forgettable",
    "LearnedProduct",
    "ReadImages",
    "StepTimes",
    "ThresholdEffect",
    "Verdicts",
    "active_model",
    "change_thresholds",
    "collected_images",
    "effect_of",
    "forget_images",
    "forgettable",
    "learn_product",
    "marked_defects",
    "read_images",
    "refusal",
    "retrain_product",
    "threshold_evidence",
]
