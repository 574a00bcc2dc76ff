"""PaDiM: how unusual a patch is for its place on the part."""

import numpy as np
from numpy.typing import NDArray

from partgate_engines.anomaly.kinds._closed import ClosedForm
from partgate_engines.anomaly.kinds._moments import Moments

_RIDGE = 0.01  # of the usual variance: what no two images differ in is no certainty


def mahalanobis_rows(moments: Moments) -> NDArray[np.float32]:
    """Return affine rows whose squares add up to the Mahalanobis distance at each place.

    A place's covariance is drawn towards that of all places, the more the fewer images there are: from 20
    images nobody knows a covariance of 32 features. A place that no image shows is judged by its distance
    from the mean of all.

    Returns:
        (p * d, d + 1) float32, those of a place after one another.

    Source: Defard et al. 2021, PaDiM, arXiv 2011.08785; Ledoit and Wolf 2004 for shrinking.
    """
    places, features = moments.total.shape
    seen = np.maximum(moments.count, 1)[:, None, None]
    scatter = moments.scatter
    pooled = scatter.sum(axis=0) / max(moments.count.sum() - (moments.count > 0).sum(), 1)
    covariance = (scatter + features * pooled) / (seen + features)
    covariance += _ridge(moments, pooled) * np.eye(features)
    whitening = np.linalg.inv(np.linalg.cholesky(covariance))  # (p, d, d)
    mean = np.where(moments.count[:, None] > 0, moments.mean, _mean_of_all(moments))
    offset = -np.einsum("pij,pj->pi", whitening, mean)
    rows = np.concatenate((whitening, offset[:, :, None]), axis=2)
    return np.ascontiguousarray(rows.reshape(places * features, features + 1), dtype=np.float32)


def _mean_of_all(moments: Moments) -> NDArray[np.float64]:
    return np.asarray(moments.total.sum(axis=0) / max(moments.count.sum(), 1))


def _ridge(moments: Moments, pooled: NDArray[np.float64]) -> float:
    """Return what is added to every variance: a share of the usual one at a place, of all with one image."""
    mean, features = _mean_of_all(moments), len(pooled)
    squares = np.trace(moments.square.sum(axis=0)) / max(moments.count.sum(), 1)
    usual = float(np.trace(pooled)) or float(squares - mean @ mean)
    return max(_RIDGE * usual / features, 1e-12)


PADIM = ClosedForm(name="padim", rows_of=mahalanobis_rows, by_place=True)
