"""Work in a process of its own, as the protocol wants it: nothing of an earlier run is left there.

The peer's learning, besides, in one that does not run out of memory. anomalib's selection makes and frees
arrays of 12 MB and more two thousand times, aligned, and this malloc cannot use such holes again: 20 GB were
taken for 20,480 patches, and the kernel ended the run. With each large array in pages of its own, and those
huge, 400 rows stay at 1.0 GB and take 2.7 s; where malloc happens to find its holes they take 2.3 s. Without
huge pages it is 4.6 s.
"""

import multiprocessing
import os
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any, TypeVar

Answer = TypeVar("Answer")
_ENVIRONMENT = {
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=1048576",
    "TQDM_DISABLE": "1",  # bars of two thousand steps
}


def alone(work: Callable[..., Answer], *arguments: Any) -> Answer:
    """Return what a module's function answers in a new process; what it raises is raised here."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=context, initializer=_only_tables_go_out) as pool:
        return pool.submit(work, *arguments).result()


def with_memory(work: Callable[..., Answer], *arguments: Any) -> Answer:
    """Return what anomalib's learning answers in a new process that has each large array's pages apart."""
    before = {name: os.environ.get(name) for name in _ENVIRONMENT}
    os.environ.update(_ENVIRONMENT)  # read once, when the process starts
    try:
        return alone(work, *arguments)
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _only_tables_go_out() -> None:
    sys.stdout = sys.stderr
