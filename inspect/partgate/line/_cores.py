"""The station's cores divided: those that judge, and those of everything else.

    before anything is started    all threads of this process --> the others' cores; the recorder's as well
    a model is loaded, a part is judged    the thread that does it --> the judging cores, until it is done

Linux keeps threads to processors one by one, and a thread or process that is started inherits where its
starter is kept. So cameras, recorder and the line's other threads are where they belong because they are
started outside `judging`, and OpenVINO's threads because they are started inside.
"""

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager

import structlog

from partgate._recorder_start import StartedProcess
from partgate_engines import (
    CoreSplit,
    keep_process_on,
    let_go,
    on_cores,
    split_cores,
    thread_processors,
)
from partgate_station import StationConfig

log = structlog.get_logger(__name__)


class StationCores:
    """Who of a station runs where; everybody everywhere without a split."""

    def __init__(self, split: CoreSplit | None = None) -> None:
        self._split = split

    def judging(self) -> AbstractContextManager[None]:
        """Have the calling thread, and what it starts meanwhile, on the judging cores.

        The context raises `ConfigError` if they have been taken away.
        """
        return contextlib.nullcontext() if self._split is None else on_cores(self._split.judging)

    def others(self) -> AbstractContextManager[None]:
        """Have the calling thread, and what it starts meanwhile, on the cores of everything else.

        The context raises `ConfigError` if they have been taken away.
        """
        return contextlib.nullcontext() if self._split is None else on_cores(self._split.others)

    def verify(self) -> None:
        """Look where the kernel has this process's threads, and say so if one may run on both sides.

        OpenVINO keeps threads of a graph it has let go of for the next one that is compiled alike, and where
        they were: in a program that has judged without a split before, they still run everywhere.
        """
        split = self._split
        if split is None:
            return
        astray = [
            thread
            for thread, processors in thread_processors().items()
            if processors & split.judging and processors & split.others
        ]
        if astray:
            log.warning("threads run on judging cores and on others", threads=len(astray), split=str(split),
                        what_now="run the station in a process of its own: partgate run")  # fmt: skip


@contextlib.contextmanager
def station_cores(config: StationConfig, recorder: StartedProcess | None = None) -> Iterator[StationCores]:
    """Set cores aside as the station's file says, until the block ends.

    Args:
        config: of the station.
        recorder: its process, where it was started before the file was read.

    Raises:
        ConfigError: too few would be left.
    """
    if not config.judging.cores:
        yield StationCores()
        return
    split = split_cores(config.judging.cores)
    before = keep_process_on(split.others)
    if recorder is not None:
        keep_process_on(split.others, recorder.pid)
    log.info("cores set aside", station=config.station_id, split=str(split))
    try:
        yield StationCores(split)
    finally:
        let_go(before)
