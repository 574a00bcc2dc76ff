"""Learning a product, improving it, and what both are made of."""

from partgate.retraining._images import ReadImages, collected_images, read_images, refusal
from partgate.retraining._learn import LearnedProduct, learn_product
from partgate.retraining._retrain import retrain_product

__all__ = [
    "LearnedProduct",
    "ReadImages",
    "collected_images",
    "learn_product",
    "read_images",
    "refusal",
    "retrain_product",
]
