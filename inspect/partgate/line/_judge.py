"""The model that judges now, and the next one made ready beside it."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import structlog

from partgate.records import Active, Database, Home, active
from partgate_engines import Bundle, Runtime, open_runtime
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


class Judges(Protocol):
    """Knows which judge is in force."""

    def current(self) -> Judge | None:
        """Return the judge for the next part; None where no recipe is active. Never blocks."""
        ...

    def close(self) -> None:
        """Release the runtime."""
        ...


class NoJudge:
    """A station that names no product: it collects images."""

    def current(self) -> Judge | None:
        """Return None."""
        return None

    def close(self) -> None:
        """Do nothing."""


def load_judge(home: Home, active_recipe: Active, kind: RuntimeKind, camera_ids: Sequence[str]) -> Judge:
    """Verify a bundle, load it into a runtime and let it judge once.

    The first judgement of a compiled graph is slow (memory is allocated, kernels are chosen), so it
    is made here, where no part waits for it.

    Raises:
        PartgateError: the bundle is damaged, the runtime is not there, or the recipe names cameras
            that the station does not have.
    """
    active_recipe.recipe.check_cameras(camera_ids)
    bundle = Bundle.open(home.bundles_path / active_recipe.model_id)
    runtime = open_runtime(bundle, kind)
    size_px = bundle.manifest.size_px
    runtime.judge(np.zeros((size_px, size_px), np.uint8))
    return Judge(
        activation_id=active_recipe.activation_id,
        recipe_id=active_recipe.recipe_id,
        model_id=active_recipe.model_id,
        recipe=active_recipe.recipe,
        runtime=runtime,
    )


LoadJudge = Callable[[Home, Active, RuntimeKind, Sequence[str]], Judge]


class ActiveJudges:
    """Follows the product's active recipe.

    A thread asks the database for the active recipe every `poll_s`, makes the new judge ready beside
    the old one, and hands it over in one assignment; the loop takes it between two parts. A judge
    that cannot be loaded is logged once and the old one stays.
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
        self._judge = self._load(self._active())
        self._refused: int | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="recipe-watcher", daemon=True)
        self._thread.start()

    def current(self) -> Judge | None:
        """Return the judge in force, changing over if a new one is ready. Called between parts."""
        with self._handover:
            following, self._next = self._next, None
        if following is not None:
            replaced, self._judge = self._judge, following
            log.info("changeover", product=self._product, model=following.model_id[:12],
                     recipe_id=following.recipe_id)  # fmt: skip
            if replaced is not None:
                replaced.runtime.close()
        return self._judge

    def close(self) -> None:
        """Stop following and release the runtimes."""
        self._stop.set()
        self._thread.join(timeout=60)
        for judge in (self._judge, self._next):
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
            except PartgateError as error:
                log.error("active recipe cannot be read", product=self._product, error=str(error))

    def _look(self) -> None:
        latest = self._active()
        judge = self._next or self._judge
        known = None if judge is None else judge.activation_id
        if latest is None or latest.activation_id in {known, self._refused}:
            return
        try:
            ready = self._load(latest)
        except PartgateError as error:
            self._refused = latest.activation_id
            log.error("the active model cannot be used; the one in force stays", product=self._product,
                      model=latest.model_id[:12], error=str(error))  # fmt: skip
            return
        with self._handover:
            overtaken, self._next = self._next, ready
        if overtaken is not None:
            overtaken.runtime.close()
