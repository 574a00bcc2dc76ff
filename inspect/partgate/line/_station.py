"""A station from its file: assembled, run, and taken down in order."""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import structlog

from partgate._recorder_start import StartedProcess
from partgate.line._cores import StationCores, station_cores
from partgate.line._disks import StationDisks
from partgate.line._health_pages import health_pages
from partgate.line._health_server import HealthServer
from partgate.line._image_health import ImageHealthWatch
from partgate.line._judge import ActiveJudges, Judge, NoJudge, RuntimeKind, load_judge
from partgate.line._loop import Line
from partgate.line._make_output import output_of
from partgate.line._metrics import StationMetrics
from partgate.line._notify import Notify
from partgate.line._part import Outcome
from partgate.line._supervision import Supervision
from partgate.line._watch import GoldenWatch
from partgate.line._watched import Watched
from partgate.line._wiring import wire
from partgate.records import (
    Active,
    Audit,
    Balance,
    Database,
    Home,
    ImageRoom,
    ImageStore,
    OrphanRecorder,
    RecordedOrphan,
    RecorderProcess,
    SuspectParts,
    balance,
    flag_suspects,
    known_products,
    latest_triggers,
)
from partgate_cameras import ProcessCamera, StrayFrame
from partgate_engines import OpenVinoOptions
from partgate_station import StationConfig

T = TypeVar("T")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class StationRun:
    """What one run of a station came to."""

    parts: int
    balance: Balance
    """Of this station, over all its runs in this home."""


def run_station(
    config: StationConfig,
    home: Home,
    *,
    stop: threading.Event,
    parts: int | None = None,
    on_outcome: Callable[[Outcome], None] = lambda outcome: None,
    recorder_process: StartedProcess | None = None,
) -> StationRun:
    """Run a station until `stop` is set, `parts` are done, or a folder camera has no more images.

    Parts that an earlier run left open are closed first. However this ends, the part in work is
    finished and everything handed over is recorded before it returns.

    Args:
        config: of the station.
        home: holds its records and models.
        stop: ends it.
        parts: how many triggers; None: without end.
        on_outcome: told of every part, in the loop's thread.
        recorder_process: started already by a caller who had the time, and who ends it.

    Raises:
        AlreadyRunning: this station runs already in this home.
        ConfigError: more cores are to be set aside for judging than can be spared.
        PartgateError: a camera, the model or the store cannot be used.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(home.lock(f"station-{config.station_id}"))
        cores = stack.enter_context(station_cores(config, recorder_process))
        database = stack.enter_context(contextlib.closing(Database.open(home)))
        recording = _recording(config, database, recorder_process)
        done = _run_line(
            config,
            home,
            database,
            cores=cores,
            recording=recording,
            stop=stop,
            parts=parts,
            on_outcome=on_outcome,
        )
        with database.read() as session:
            return StationRun(parts=done, balance=balance(session, config.station_id))


def _run_line(
    config: StationConfig,
    home: Home,
    database: Database,
    *,
    cores: StationCores,
    recording: contextlib.AbstractContextManager[RecorderProcess],
    stop: threading.Event,
    parts: int | None,
    on_outcome: Callable[[Outcome], None],
) -> int:
    with contextlib.ExitStack() as stack:
        supervision = stack.enter_context(_supervising(config))
        output = stack.enter_context(output_of(config))
        recorder = stack.enter_context(recording)
        cameras = stack.enter_context(_cameras(config, start_at=recorder.next_trigger_id() - 1))
        judges = stack.enter_context(_judging(config, home, database, cores))
        for camera in cameras:
            camera.open()
        recorder.wait_ready()
        wiring = stack.enter_context(contextlib.closing(wire(config, cameras)))
        golden = GoldenWatch(
            station_id=config.station_id,
            every_parts=config.golden_every_parts,
            flag=lambda found: _flag(database, found),
            reload=judges.reload,
        )
        image_health = ImageHealthWatch(
            config.image_health,
            station_id=config.station_id,
            flag=lambda found: _flag(database, found),
        )
        watched = Watched(
            product=config.product,
            cameras=cameras,
            recorder=recorder,
            judges=judges,
            golden=golden,
            output=output,
            disks=StationDisks(
                home,
                makes_room=config.records.room_share > 0,
                nothing_to_remove=lambda: recorder.nothing_to_remove,
            ),
            image_health=image_health,
        )
        record_orphan = stack.enter_context(_orphans(config, home, database))
        line = Line(
            cameras=wiring.finders,
            triggers=wiring.triggers,
            judges=judges,
            recorder=recorder,
            output=output,
            product=config.product,
            watch=golden,
            image_health=image_health,
            on_stray=_both(record_orphan, supervision.strayed),
            on_stage=supervision.staged,
            on_turn=supervision.turned,
            on_confirmed=supervision.confirmed,
            taking_kept=cores.others,
        )
        stack.callback(supervision.stopping)
        supervision.watch(watched, stop)
        with cores.judging():
            return line.run(stop, parts=parts, on_outcome=_both(supervision.done, on_outcome))


def _both(first: Callable[[T], None], second: Callable[[T], None]) -> Callable[[T], None]:
    def tell(what: T) -> None:
        first(what)
        second(what)

    return tell


@contextlib.contextmanager
def _supervising(config: StationConfig) -> Iterator[Supervision]:
    """Watch the station from before anything is started: who asks meanwhile is told that it starts."""
    metrics = None if config.health is None else StationMetrics(config.station_id)
    notify = Notify.from_environment()
    with contextlib.ExitStack() as stack:
        supervision = stack.enter_context(Supervision(config.station_id, notify=notify, metrics=metrics))
        if config.health is not None and metrics is not None:
            pages = health_pages(supervision, metrics)
            stack.enter_context(
                contextlib.closing(HealthServer(config.health.host, config.health.port, pages))
            )
        yield supervision


def _flag(database: Database, found: SuspectParts) -> None:
    """Have the suspect parts named in the audit trail; the line does not wait for the disk."""

    def tell(done: Future[Audit]) -> None:
        if (error := done.exception()) is not None:
            log.error("suspect parts could not be flagged", error=str(error), first=found.first_trigger_id,
                      last=found.last_trigger_id)  # fmt: skip

    database.write(lambda session: flag_suspects(session, found)).add_done_callback(tell)


def _flag_unvouched(config: StationConfig, database: Database, model_id: str, why: str) -> None:
    """Have the parts named that no golden frame vouches for, of a model that was right and is now wrong.

    A station that was killed has said of its last parts neither that they are right nor that they are not.
    More than `golden_every_parts` they cannot be: before those every frame was asked.
    """
    with database.read() as session:
        triggers = latest_triggers(
            session, config.station_id, model_id=model_id, most=config.golden_every_parts
        )
    if triggers:
        found = SuspectParts(
            station_id=config.station_id,
            first_trigger_id=min(triggers),
            last_trigger_id=max(triggers),
            model_id=model_id,
            runtime=None,
            why=f"when it was loaded again: {why}",
        )
        log.error("the model is wrong where it was right; its last parts are suspect", why=why,
                  first_suspect=found.first_trigger_id, last_suspect=found.last_trigger_id)  # fmt: skip
        _flag(database, found)


@contextlib.contextmanager
def _recording(
    config: StationConfig, database: Database, process: StartedProcess | None
) -> Iterator[RecorderProcess]:
    recorder = RecorderProcess(
        database,
        station_id=config.station_id,
        keep=config.records.images,
        room_share=config.records.room_share,
        process=process,
    )
    with contextlib.closing(recorder):
        if interrupted := recorder.recover():
            log.warning("parts left open by an earlier run were closed UNDECIDED", parts=interrupted)
        yield recorder


@contextlib.contextmanager
def _orphans(config: StationConfig, home: Home, database: Database) -> Iterator[Callable[[StrayFrame], None]]:
    recorder = OrphanRecorder(database, ImageStore(home), station_id=config.station_id, room=ImageRoom(home))
    with contextlib.closing(recorder):
        yield lambda stray: recorder.record(
            RecordedOrphan(
                camera_id=stray.camera_id,
                frame_id=stray.frame_id,
                camera_timestamp_ns=stray.camera_timestamp_ns,
                received_at=stray.received_at,
                reason=stray.why,
                image=stray.image,
            )
        )


@contextlib.contextmanager
def _judging(
    config: StationConfig, home: Home, database: Database, cores: StationCores
) -> Iterator[ActiveJudges | NoJudge]:
    def load(home: Home, active: Active, kind: RuntimeKind, camera_ids: Sequence[str]) -> Judge:
        # The threads that compute scores stay where the one that loads the model is.
        with cores.judging():
            judge = load_judge(
                home,
                active,
                kind,
                camera_ids,
                OpenVinoOptions.of_station(config),
                on_contradiction=partial(_flag_unvouched, config, database, active.model_id),
            )
        cores.verify()
        return judge

    if config.product is None:
        judges: ActiveJudges | NoJudge = NoJudge()
    else:
        judges = ActiveJudges(
            home,
            database,
            config.product,
            kind=config.runtime,
            camera_ids=config.camera_ids,
            load=load,
        )
    with contextlib.closing(judges):
        if judges.current() is None:
            log.warning("no active recipe: every part is UNDECIDED, its images are kept",
                        product=config.product, known=_known(database))  # fmt: skip
        yield judges


def _known(database: Database) -> list[str]:
    with database.read() as session:
        return list(known_products(session))


@contextlib.contextmanager
def _cameras(config: StationConfig, *, start_at: int) -> Iterator[Sequence[ProcessCamera]]:
    """Start the cameras' processes (docs/decisions/0008), to be opened when the model is loaded."""
    with contextlib.ExitStack() as stack:
        cameras = [ProcessCamera(camera, start_at=start_at) for camera in config.cameras]
        for camera in cameras:
            stack.callback(camera.close)
            camera.start()
        yield cameras
