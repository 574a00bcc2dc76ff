"""The model that judges now, and the next one made ready beside it."""

import contextlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, Protocol

import structlog

from partgate.line._gate import OnContradiction, open_through_gate
from partgate.line._golden import GoldenCheck
from partgate.records import Active, Database, Home, Keys, Proofs, active
from partgate_engines import (
    Bundle,
    DeviceFailed,
    Fingerprint,
    OpenVinoOptions,
    Runtime,
    forget_engines,
    open_runtime,
)
from partgate_station import PartgateError, Recipe

log = structlog.get_logger(__name__)

RuntimeKind = Literal["auto", "openvino", "tensorrt"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """A recipe and the runtime that holds its model."""

    activation_id: int
    recipe_id: int
    model_id: str
    recipe: Recipe
    runtime: Runtime
    golden: GoldenCheck | None = None
    """What it is asked now and then; None where there is nothing to ask."""

    fingerprint: Fingerprint | None = None
    """What it passed the parity gate as."""


class Judges(Protocol):
    """Knows which judge is in force."""

    def current(self) -> Judge | None:
        """Return the judge for the next part; None where no recipe is active. Never blocks.

        The runtime of a judge that was replaced stays open until the next call, before which every part
        that may need it must be done.
        """
        ...

    def reload(self, judge: Judge) -> None:
        """Make a judge ready anew that has answered wrongly; once, and not in this thread."""
        ...

    def require_device(self) -> None:
        """Raise what has failed for good while a judge was made ready beside the one in force.

        Raises:
            DeviceFailed: the process has to end.
        """
        ...

    def close(self) -> None:
        """Release the runtime."""
        ...


class NoJudge:
    """A station that names no product: it collects images."""

    @property
    def coming(self) -> Judge | None:
        """Return None."""
        return None

    def current(self) -> Judge | None:
        """Return None."""
        return None

    def reload(self, judge: Judge) -> None:
        """Do nothing: there is no judge."""

    def require_device(self) -> None:
        """Do nothing: there is no device."""

    def close(self) -> None:
        """Do nothing."""


def load_judge(
    home: Home,
    active_recipe: Active,
    kind: RuntimeKind,
    camera_ids: Sequence[str],
    options: OpenVinoOptions | None = None,
    *,
    on_contradiction: OnContradiction = lambda why: None,
) -> Judge:
    """Verify a bundle, load it into a runtime and pass it through the parity gate.

    The first judgements of a compiled graph are slow (memory is allocated, kernels are chosen); golden
    frames are what they are spent on here, where no part waits for them.

    Args:
        home: holds the bundle.
        active_recipe: which one.
        kind: of the runtime.
        camera_ids: of the station.
        options: how OpenVINO judges; None as for a station whose file says nothing of it.
        on_contradiction: told what golden frames say where a proof said otherwise.

    Raises:
        PartgateError: the bundle is damaged or not signed by a trusted signer, the runtime is not there
            or does not pass the gate, or the recipe names cameras that the station does not have.
    """
    active_recipe.recipe.check_cameras(camera_ids)
    bundle = Bundle.open(home.bundles_path / active_recipe.model_id, trusted=Keys(home).trusted())
    options = options or OpenVinoOptions(cameras=max(len(camera_ids), 1))
    engines, golden = home.graphs_path, bundle.golden()
    with contextlib.ExitStack() as stack:
        runtime, report = open_through_gate(
            bundle,
            partial(open_runtime, bundle, kind, engines=engines, openvino=options),
            golden,
            Proofs(home),
            engines=engines,
            on_contradiction=on_contradiction,
        )
        stack.callback(runtime.close)
        check = GoldenCheck.of(bundle, runtime, golden)
        stack.pop_all()
    return Judge(
        activation_id=active_recipe.activation_id,
        recipe_id=active_recipe.recipe_id,
        model_id=active_recipe.model_id,
        recipe=active_recipe.recipe,
        runtime=runtime,
        golden=check,
        fingerprint=report.fingerprint,
    )


LoadJudge = Callable[[Home, Active, RuntimeKind, Sequence[str]], Judge]


class ActiveJudges:
    """Follows the product's active recipe.

    A thread asks the database for the active recipe every `poll_s`, makes the new judge ready beside
    the old one, and hands it over in one assignment; the loop takes it between two parts. A judge
    that cannot be loaded, for whatever reason, is logged once and the old one stays. One that answered
    wrongly is made ready anew once per activation: a runtime that fails twice is not trusted a third time
    without a person. A device that fails meanwhile has failed for the judge in force as well.
    """

    def __init__(
        self,
        home: Home,
        database: Database,
        product: str,
        *,
        kind: RuntimeKind,
        camera_ids: Sequence[str],
        poll_s: float = 0.5,
        load: LoadJudge = load_judge,
    ) -> None:
        self._home, self._database, self._product = home, database, product
        self._kind, self._camera_ids, self._poll_s = kind, tuple(camera_ids), poll_s
        self._load_judge = load
        self._handover = threading.Lock()
        self._next: Judge | None = None
        self._replaced: Judge | None = None
        self._suspect: Judge | None = None
        self._wrong: Judge | None = None
        self._reloaded: set[int] = set()
        self._device_failure: DeviceFailed | None = None
        self._judge = self._load(self._active())
        self._refused: int | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="recipe-watcher", daemon=True)
        self._thread.start()

    @property
    def coming(self) -> Judge | None:
        """The judge that the next part will get; nothing is changed over. For any thread."""
        with self._handover:
            return self._next or self._judge

    def current(self) -> Judge | None:
        """Return the judge in force, changing over if a new one is ready. Called between parts."""
        if self._replaced is not None:
            self._replaced.runtime.close()
            self._replaced = None
        with self._handover:
            following, self._next = self._next, None
        if following is not None:
            self._replaced, self._judge = self._judge, following
            log.info("changeover", product=self._product, model=following.model_id[:12],
                     recipe_id=following.recipe_id)  # fmt: skip
        return self._judge

    def reload(self, judge: Judge) -> None:
        """Have the watching thread make a judge ready anew, unless that was tried before."""
        self._wrong = judge
        if judge.activation_id in self._reloaded:
            log.error("the model stays out of service; activate one, or start the station again",
                      product=self._product, model=judge.model_id[:12])  # fmt: skip
            return
        self._reloaded.add(judge.activation_id)
        if judge.fingerprint is not None:
            Proofs(self._home).forget(judge.fingerprint)
        with self._handover:
            self._suspect = judge

    def require_device(self) -> None:
        """Raise what has failed for good in the watching thread. For any thread."""
        if self._device_failure is not None:
            raise self._device_failure

    def close(self) -> None:
        """Stop following and release the runtimes."""
        self._stop.set()
        self._thread.join(timeout=60)
        for judge in (self._replaced, self._judge, self._next):
            if judge is not None:
                judge.runtime.close()

    def _active(self) -> Active | None:
        with self._database.read() as session:
            return active(session, self._product)

    def _load(self, active_recipe: Active | None) -> Judge | None:
        if active_recipe is None:
            return None
        return self._load_judge(self._home, active_recipe, self._kind, self._camera_ids)

    def _follow(self) -> None:
        while not self._stop.wait(self._poll_s):
            try:
                self._look()
            except DeviceFailed as error:
                self._device_failure = error
                return
            except PartgateError as error:
                log.error("active recipe cannot be read", product=self._product, error=str(error))
            except Exception:
                # The top of this thread, without which no model or limit would be taken up any more.
                log.exception("active recipe cannot be read", product=self._product)

    def _look(self) -> None:
        latest = self._active()
        if latest is None or not self._is_wanted(latest):
            return
        try:
            ready = self._load(latest)
        except DeviceFailed:
            raise
        except Exception as error:
            # Whatever it is, the model in force goes on, and the next activation is taken up.
            self._refused = latest.activation_id
            log.error("the active model cannot be used", product=self._product, model=latest.model_id[:12],
                      error=str(error), what_now=self._what_now(),
                      exc_info=not isinstance(error, PartgateError))  # fmt: skip
            return
        with self._handover:
            overtaken, self._next = self._next, ready
        if overtaken is not None:
            overtaken.runtime.close()

    def _what_now(self) -> str:
        """Return what judges the parts when a model could not be made ready."""
        with self._handover:
            judge = self._next or self._judge
        if judge is None:
            return "no model is in force: every part is UNDECIDED until one is activated that can be used"
        if judge is self._wrong:
            return (
                f"model {judge.model_id[:12]}, which answered wrongly, stays out of service: every part is"
                " UNDECIDED until a model is activated that can be used"
            )
        return f"model {judge.model_id[:12]}, the one in force, stays"

    def _is_wanted(self, latest: Active) -> bool:
        """Return whether a judge is to be made ready: for a new activation, or anew for a suspect one."""
        with self._handover:
            suspect, self._suspect = self._suspect, None
            judge = self._next or self._judge
        if suspect is not None and suspect.activation_id == latest.activation_id:
            if suspect.fingerprint is not None:
                forget_engines(
                    suspect.fingerprint.graph_sha256,
                    self._home.graphs_path,
                    runtime=suspect.fingerprint.runtime,
                )
            return True
        known = None if judge is None else judge.activation_id
        return latest.activation_id not in {known, self._refused}
