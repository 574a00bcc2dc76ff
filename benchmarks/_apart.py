"""The peer's learning, in a process of its own that does not run out of memory.

anomalib's selection makes and frees an array of every patch's distance two thousand times. In one
process with everything else, malloc could not use the holes again: 23 GB were taken for 102,400 patches,
and the kernel ended the run. With huge pages for malloc (glibc.malloc.hugetlb=1) it stays at 1.1 GB, and
500 rows take 45 s instead of 71, so the peer loses nothing by it.
"""

import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any, TypeVar

Answer = TypeVar("Answer")
_TUNABLES = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1", "TQDM_DISABLE": "1"}  # bars of two thousand steps


def apart(work: Callable[..., Answer], *arguments: Any) -> Answer:
    """Return what a module's function answers in a new process; what it raises is raised here."""
    before = {name: os.environ.get(name) for name in _TUNABLES}
    os.environ.update(_TUNABLES)  # read once, when the process starts
    try:
        with ProcessPoolExecutor(max_workers=1, mp_context=multiprocessing.get_context("spawn")) as pool:
            return pool.submit(work, *arguments).result()
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
