"""Choosing the patches that stand for all others: greedy k-centre selection."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float32]
Indices = NDArray[np.intp]

_CANDIDATES = 1024  # the farthest points among which the next centres are sought
_BLOCK = 8192  # points per block of a distance update: its products stay within the cache
_DIMS = 512  # more are projected to fewer: a distance update is bound by n x dims
_PROJECTED_DIMS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Coreset:
    """The chosen points and how well they cover the others."""

    chosen: Indices
    """(m,) positions in the points, in the order of choice."""

    distance: Rows
    """(n,) float32, each point's distance to the nearest centre, in the space of the choice."""


def k_centre(
    points: Rows, *, count: int, seed: int, start: Rows | None = None, tolerance: float = 0.0
) -> Coreset:
    """Choose points so that the farthest of the others is as near as greedy choice makes it.

    The choice is the exact greedy one: the next centre is the point farthest from all centres so far.
    It is fast because the distances of all points are brought up to date once for many centres, by a
    matrix product: among the farthest points the next centres are chosen one by one, as long as the
    farthest of them is farther than any point outside them was, since distances only ever shrink.

    Args:
        points: (n, d) float32, not modified.
        count: how many to choose at most; fewer if the points are covered before.
        seed: of the first centre and of the projection of points of more than 512 features.
        start: (k, d) float32, centres that are there already; None to begin with none.
        tolerance: stop when no point is farther than this from its centre.

    Source: Gonzalez 1985 (greedy k-centre); Roth et al. 2022, arXiv 2106.08265, section 3.2.
    """
    random = np.random.default_rng(seed)
    if start is None:
        start = points[:0]
    points, start = _projected(points, start, random)
    norms = _norms(points)
    nearest = np.full(len(points), np.inf, dtype=np.float32)  # squared
    chosen: list[int] = []
    if len(start):
        _bring_up_to_date(nearest, points, norms, start)
    elif count > 0 and len(points):
        chosen.append(int(random.integers(len(points))))
        _bring_up_to_date(nearest, points, norms, points[chosen])
    while len(chosen) < min(count, len(points)):
        batch = _next_centres(points, norms, nearest, count=count - len(chosen), tolerance=tolerance)
        if not batch:
            break
        chosen.extend(batch)
        _bring_up_to_date(nearest, points, norms, points[batch])
        nearest[batch] = 0
    return Coreset(chosen=np.array(chosen, dtype=np.intp), distance=np.sqrt(nearest))


def nearest_distance(points: Rows, centres: Rows) -> Rows:
    """Return each point's distance to the nearest centre.

    Args:
        points: (n, d) float32.
        centres: (k, d) float32, k at least 1.

    Returns:
        (n,) float32, >= 0.
    """
    nearest = np.full(len(points), np.inf, dtype=np.float32)
    _bring_up_to_date(nearest, points, _norms(points), centres)
    return np.asarray(np.sqrt(nearest), dtype=np.float32)


def _projected(points: Rows, start: Rows, random: np.random.Generator) -> tuple[Rows, Rows]:
    if points.shape[1] <= _DIMS:
        return np.ascontiguousarray(points), np.ascontiguousarray(start)
    matrix = random.standard_normal((points.shape[1], _PROJECTED_DIMS), dtype=np.float32)
    matrix /= np.float32(np.sqrt(_PROJECTED_DIMS))
    return points @ matrix, start @ matrix


def _norms(points: Rows) -> Rows:
    return np.asarray(np.einsum("nd,nd->n", points, points), dtype=np.float32)


def _bring_up_to_date(nearest: Rows, points: Rows, norms: Rows, centres: Rows) -> None:
    """Lower the squared distances to what the new centres make of them, in place."""
    centre_norms = _norms(centres)
    transposed = np.ascontiguousarray(-2 * centres.T)
    for first in range(0, len(points), _BLOCK):
        block = slice(first, first + _BLOCK)
        squared = points[block] @ transposed  # (block, k)
        squared += centre_norms
        here = squared.min(axis=1) + norms[block]
        np.minimum(nearest[block], np.maximum(here, 0), out=nearest[block])


def _next_centres(points: Rows, norms: Rows, nearest: Rows, *, count: int, tolerance: float) -> list[int]:
    """Choose the next centres among the farthest points, as many as are certain to be greedy's."""
    pool = _farthest(nearest)
    inside, distance = points[pool], nearest[pool].copy()
    inside_norms = norms[pool]
    bound = _largest_outside(nearest, pool)
    batch: list[int] = []
    while len(batch) < count:
        here = int(distance.argmax())
        if distance[here] <= tolerance**2 or (batch and distance[here] < bound):
            break
        batch.append(int(pool[here]))
        squared = inside_norms - 2 * (inside @ inside[here]) + inside_norms[here]
        np.minimum(distance, np.maximum(squared, 0), out=distance)
        distance[here] = 0
    return batch


def _farthest(nearest: Rows) -> Indices:
    if len(nearest) <= _CANDIDATES:
        return np.arange(len(nearest))
    return np.sort(np.argpartition(nearest, -_CANDIDATES)[-_CANDIDATES:])


def _largest_outside(nearest: Rows, pool: Indices) -> float:
    outside = np.ones(len(nearest), dtype=np.bool_)
    outside[pool] = False
    return float(nearest[outside].max(initial=0.0))
