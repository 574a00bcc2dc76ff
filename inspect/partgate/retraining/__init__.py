"""Learning a product, improving it, and what both are made of."""

from partgate.retraining._images import ReadImages, collected_images, read_images, refusal
from partgate.retraining._learn import LearnedProduct, learn_product
from partgate.retraining._retrain import retrain_product
from partgate.retraining._thresholds import (
    Evidence,
    ThresholdEffect,
    Verdicts,
    change_thresholds,
    effect_of,
    threshold_evidence,
)

__all__ = [
    "Evidence",
    "LearnedProduct",
    "ReadImages",
    "ThresholdEffect",
    "Verdicts",
    "change_thresholds",
    "collected_images",
    "effect_of",
    "learn_product",
    "read_images",
    "refusal",
    "retrain_product",
    "threshold_evidence",
]
