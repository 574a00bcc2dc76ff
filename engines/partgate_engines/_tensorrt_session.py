"""What lies on the GPU while a station judges: banks, resizes, slots, and how they are bound.

A run is what the engine judges at once: a frame, or as many of its tiles as the engine takes.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from math import prod
from typing import TypeVar

import numpy as np
import structlog
from numpy.typing import NDArray

from partgate_engines._cuda import CudaDevice, CudaEvent, CudaGraph, DeviceBuffer, PinnedBuffer
from partgate_engines._cuda_errors import DeviceOutOfMemory, let_go
from partgate_engines._machine import RuntimeFacts
from partgate_engines._placement import Placement
from partgate_engines._tensorrt_execution import Engine, Execution
from partgate_engines._tiles import Grid

log = structlog.get_logger(__name__)

Floats = NDArray[np.float32]
T = TypeVar("T")

_PLACEMENTS_KEPT = 16
_BINDINGS_KEPT = 32
_FIRST_RUNS = 2  # kernels are compiled in the first, and a CUDA graph is captured in the second
_FLOAT = 4
_ALIGNMENT = 256  # of TensorRT's addresses; the scores of 64 tiles lie before the maps


@dataclass(slots=True, eq=False)
class Slot:
    """Where one run lies on its way: pinned in the host, and on the device. Two are under way."""

    index: int
    pinned: PinnedBuffer
    frame: DeviceBuffer
    pinned_answer: PinnedBuffer
    answer: DeviceBuffer
    uploaded: CudaEvent
    answered: CudaEvent

    @property
    def capacity(self) -> int:
        """The bytes of the largest run that it holds."""
        return self.frame.nbytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What is judged in one slot."""

    slot: Slot
    shape: tuple[int, int, int, int]
    """Tiles, height, width and channels of what lies in the slot."""

    placement: Placement
    bank: str
    """The name that the bank was loaded under."""

    run: int = 0
    """Which run of the frame's this is."""


@dataclass(frozen=True, slots=True)
class _Placed:
    rows: DeviceBuffer
    columns: DeviceBuffer
    masks: tuple[DeviceBuffer, ...]
    """One for each run."""

    placement: Placement
    """Kept, so that its identity stays its own."""

    def free(self) -> None:
        for buffer in (self.rows, self.columns, *self.masks):
            buffer.free()


@dataclass(slots=True)
class _Binding:
    """An execution with everything bound for one slot, size, placement and bank.

    One execution context for each, because a captured graph is valid only as long as nothing of its
    context changes (NVIDIA's advice: one context per captured graph, with shared scratch memory).
    """

    execution: Execution
    tiles: int
    runs: int = 0
    graph: CudaGraph | None = field(default=None)

    def free(self) -> None:
        if self.graph is not None:
            self.graph.free()


def _key(task: Task) -> Hashable:
    return (task.slot.index, task.shape, id(task.placement), task.run, task.bank)


class Session:
    """Everything on the device, and the work that is put into its streams.

    Every method belongs to the thread that opened the device, and those that load, unload or grow
    need it idle.
    """

    def __init__(
        self,
        device: CudaDevice,
        engine: Engine,
        *,
        grid: Grid,
        tiles: int = 1,
        slots: int = 2,
        version: str = "unknown",
        precision: str = "fp32",
        compiled: str = "",
    ) -> None:
        self.facts = RuntimeFacts(
            device=f"{device.facts.name} (compute capability {device.facts.capability})",
            driver=device.facts.driver,
            version=version,
            precision=precision,
            capability=device.facts.capability,
            compiled=compiled,
        )
        self._device = device
        self._engine = engine
        self._grid = grid
        self._tiles = tiles  # the most of one run
        self._capture = engine.captures
        self._copies = device.stream()
        self._work = device.stream()
        self._scratch: DeviceBuffer | None = None
        self._banks: dict[str, tuple[DeviceBuffer, int, int]] = {}
        self._placed: OrderedDict[int, _Placed] = OrderedDict()
        self._bindings: OrderedDict[Hashable, _Binding] = OrderedDict()
        self._channels = {1: self._uploaded(np.ones((3, 1), np.float32))}
        self._channels[3] = self._uploaded(np.eye(3, dtype=np.float32))
        self.slots = tuple(self._slot(index) for index in range(slots))

    def load_bank(self, name: str, augmented: Floats) -> None:
        """Put a memory bank on the device, beside those that are there: (k, d + 1) float32."""
        if name not in self._banks:
            buffer = self._with_room(lambda: self._uploaded(augmented))
            self._banks[name] = (buffer, augmented.shape[0], augmented.shape[1])

    def unload_bank(self, name: str) -> None:
        """Forget a memory bank, and everything that is bound to it."""
        found = self._banks.pop(name, None)
        if found is not None:
            self._drop_bindings()
            found[0].free()

    def grow(self, slot: Slot, nbytes: int) -> None:
        """Make a slot large enough for a run of so many bytes."""
        if slot.capacity >= nbytes:
            return
        frame = self._with_room(lambda: self._device.allocate(nbytes))
        try:
            pinned = self._with_room(lambda: self._device.pinned(nbytes))
        except DeviceOutOfMemory:
            frame.free()
            raise
        self._drop_bindings()  # they point into the old one
        old_frame, old_pinned = slot.frame, slot.pinned
        slot.frame, slot.pinned = frame, pinned
        old_frame.free()
        old_pinned.free()

    def settled(self, task: Task) -> bool:
        """Return whether a run like this went before, so that nothing is compiled or captured any more."""
        found = self._bindings.get(_key(task))
        return found is not None and (found.graph is not None or found.runs >= _FIRST_RUNS)

    def start(self, task: Task) -> Callable[[], tuple[Floats, Floats]]:
        """Put a run's upload, judging and answer into the streams.

        Returns:
            Waits for the answer and returns it: new arrays of the scores (n,) and maps (n, gh, gw) of
            the run's tiles. The slot is free again after that.
        """
        slot, binding = task.slot, self._with_room(lambda: self._binding(task))
        self._device.upload(slot.frame, slot.pinned.array[: prod(task.shape)], self._copies)
        slot.uploaded.record(self._copies)
        self._work.wait_for(slot.uploaded)
        first = not binding.runs
        self._run(binding, slot)
        slot.answered.record(self._work)
        return lambda: self._answer(slot, binding.tiles, keep=first)

    def keep_kernels(self) -> None:
        """Keep what the engine compiled while it ran, for the next start."""
        self._engine.keep_kernels()

    def close(self) -> None:
        """Give back everything, in the reverse order of its making, and the device."""
        self._work.synchronize()
        try:
            self._engine.keep_kernels()
        finally:
            self._drop_bindings()
            self._drop_placements()
            for buffer, _, _ in reversed(self._banks.values()):
                buffer.free()
            self._banks.clear()
            # TensorRT frees what it holds on the device when its objects go, and needs the context for it.
            self._engine.close()
            del self._engine
            self._device.close()

    def _run(self, binding: _Binding, slot: Slot) -> None:
        if binding.graph is not None:
            binding.graph.launch(self._work)
            return
        # The first run sets up what a capture may not: it allocates, and loads kernels.
        if binding.runs and self._capture:
            binding.graph = self._device.capture(self._work, lambda: self._enqueue(binding, slot))
            if binding.graph is None:
                self._capture = False
                log.warning("tensorrt.no_cuda_graph", what_now="judging goes on without it, a little slower")
            else:
                binding.graph.launch(self._work)
                return
        self._enqueue(binding, slot)
        binding.runs += 1

    def _enqueue(self, binding: _Binding, slot: Slot) -> None:
        binding.execution.enqueue(self._work.handle)
        answer = slot.pinned_answer.array[: self._answer_bytes(binding.tiles)]
        self._device.download(answer, slot.answer, self._work)

    def _answer(self, slot: Slot, tiles: int, *, keep: bool) -> tuple[Floats, Floats]:
        slot.answered.synchronize()
        if keep:  # at once: who ends by a fault later has nothing to compile when it starts again
            self._engine.keep_kernels()
        floats = slot.pinned_answer.array[: self._answer_bytes(tiles)].view(np.float32)
        maps = floats[_ALIGNMENT // _FLOAT :].reshape(tiles, *self._grid)
        return floats[:tiles].copy(), maps.copy()

    def _answer_bytes(self, tiles: int) -> int:
        return _ALIGNMENT + _FLOAT * tiles * self._grid[0] * self._grid[1]

    def _binding(self, task: Task) -> _Binding:
        key = _key(task)
        found = self._bindings.get(key)
        if found is None:
            placed = self._place(task.placement)
            if len(self._bindings) >= _BINDINGS_KEPT:
                self._work.synchronize()
                self._bindings.popitem(last=False)[1].free()
            found = self._bindings[key] = self._bound(task, placed)
        self._bindings.move_to_end(key)
        return found

    def _bound(self, task: Task, placed: _Placed) -> _Binding:
        tiles, height_px, width_px, channels = task.shape
        bank, rows, columns = self._banks[task.bank]
        size_px = task.placement.rows.shape[0]
        execution = self._engine.execution()
        needed = execution.bind(
            shapes={
                "frames": task.shape,
                "rows": (size_px, height_px),
                "columns": (width_px, size_px),
                "channels": (3, channels),
                "bank": (rows, columns),
                "mask": (tiles, *self._grid),
            },
            addresses={
                "frames": task.slot.frame.address,
                "rows": placed.rows.address,
                "columns": placed.columns.address,
                "channels": self._channels[channels].address,
                "bank": bank.address,
                "mask": placed.masks[task.run].address,
                "score": task.slot.answer.address,
                "anomaly_map": task.slot.answer.address + _ALIGNMENT,
            },
        )
        scratch = self._scratch_of(needed)
        execution.use_scratch(scratch.address, scratch.nbytes)
        return _Binding(execution, tiles)

    def _scratch_of(self, nbytes: int) -> DeviceBuffer:
        """Return scratch memory for all executions: they run one after the other, in one stream."""
        if self._scratch is None or self._scratch.nbytes < nbytes:
            self._drop_bindings()  # they point into the old one
            if self._scratch is not None:
                self._scratch.free()
                self._scratch = None
            self._scratch = self._device.allocate(nbytes)
        return self._scratch

    def _place(self, placement: Placement) -> _Placed:
        found = self._placed.get(id(placement))
        if found is None:
            if len(self._placed) >= _PLACEMENTS_KEPT:
                self._drop_bindings()
                self._placed.popitem(last=False)[1].free()
            found = self._placed[id(placement)] = _Placed(
                rows=self._uploaded(placement.rows),
                columns=self._uploaded(placement.columns),
                masks=tuple(
                    self._uploaded(placement.mask[first : first + self._tiles])
                    for first in range(0, len(placement.mask), self._tiles)
                ),
                placement=placement,
            )
        self._placed.move_to_end(id(placement))
        return found

    def _uploaded(self, array: Floats) -> DeviceBuffer:
        content = np.ascontiguousarray(array, dtype=np.float32)
        buffer = self._device.allocate(content.nbytes)
        self._device.upload_now(buffer, content.reshape(-1).view(np.uint8))
        return buffer

    def _slot(self, index: int) -> Slot:
        answer_bytes = self._answer_bytes(self._tiles)
        return Slot(
            index=index,
            pinned=self._device.pinned(0),
            frame=self._device.allocate(0),
            pinned_answer=self._device.pinned(answer_bytes),
            answer=self._device.allocate(answer_bytes),
            uploaded=self._device.event(),
            answered=self._device.event(),
        )

    def _with_room(self, make: Callable[[], T]) -> T:
        """Make something; if there is no room, drop once what can be made again and try once more."""
        try:
            return make()
        except DeviceOutOfMemory as error:
            log.warning("tensorrt.no_room", why=str(error), what_now="idle buffers are dropped")
            let_go(error)
        # Only here is the error forgotten, and with it what it held on the device.
        self._work.synchronize()
        self._drop_bindings()
        self._drop_placements()
        return make()

    def _drop_bindings(self) -> None:
        self._work.synchronize()
        while self._bindings:
            self._bindings.popitem(last=False)[1].free()

    def _drop_placements(self) -> None:
        while self._placed:
            self._placed.popitem(last=False)[1].free()
