"""PCA: how far a patch lies from the subspace that patches of good parts fill."""

import numpy as np
from numpy.typing import NDArray

from partgate_engines.anomaly.kinds._closed import ClosedForm
from partgate_engines.anomaly.kinds._moments import Moments

KEPT_SHARE = 0.95
"""Of the variance: what the subspace explains of good patches."""


def residual_rows(moments: Moments) -> NDArray[np.float32]:
    """Return affine rows whose squares add up to a patch's squared distance from the subspace.

    They are the directions that good patches vary least in: (d - q, d + 1) float32.

    Source: Jolliffe 2002, Principal component analysis, section 10.1.
    """
    variance, directions = np.linalg.eigh(moments.scatter[0])
    explained = np.cumsum(variance[::-1].clip(min=0))
    kept = int(np.searchsorted(explained, KEPT_SHARE * explained[-1])) + 1
    left = directions[:, : max(len(variance) - kept, 1)].T  # (d - q, d), the least variance first
    return np.ascontiguousarray(np.column_stack((left, -left @ moments.mean[0])), dtype=np.float32)


PCA = ClosedForm(name="pca", rows_of=residual_rows)
