"""The graph on an NVIDIA GPU, by TensorRT."""

import queue
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from partgate_engines._bundle import Bundle
from partgate_engines._cuda_errors import DeviceHung
from partgate_engines._cuda_thread import DeviceThread
from partgate_engines._errors import BundleRefused, FrameRefused
from partgate_engines._machine import RuntimeFacts
from partgate_engines._placement import Placement, place
from partgate_engines._runtime import AnomalyResult, FrameScore, score_in_turn, with_channels
from partgate_engines._tensorrt_build import Profile
from partgate_engines._tensorrt_open import TensorRtOptions, open_session
from partgate_engines._tensorrt_session import Session, Slot, Task
from partgate_station import Region

_PLACEMENTS_KEPT = 16
_WARM_UP_RUNS = 3  # plain, captured, launched
_AT_ONCE = 2  # frames under way; a third would wait for a slot

Answer = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Scores (n,) and maps (n, gh, gw) of the tiles of one run."""


class _Gpu:
    """One GPU with one engine, shared by the products that are judged with it."""

    def __init__(self, bundle: Bundle, open_it: Callable[[], Session], options: TensorRtOptions) -> None:
        self.graph_sha256 = bundle.manifest.graph_sha256
        self.options = options
        self.profile = options.profile_for(bundle.manifest)
        self.timeout_s = timeout_s = options.judge_timeout_s
        self.thread: DeviceThread[Session] = DeviceThread(open_it, name="partgate-gpu")
        self.users: dict[str, int] = {}
        slots = self.thread.call(lambda session: session.slots, timeout_s=timeout_s)
        self.facts = self.thread.call(lambda session: session.facts, timeout_s=timeout_s)
        # As many runs are under way as there are slots; who brings one more waits for a slot.
        self._free: queue.Queue[Slot] = queue.Queue(maxsize=len(slots))
        for slot in slots:
            self._free.put_nowait(slot)

    def load(self, bundle: Bundle) -> None:
        rows = bundle.manifest.bank_rows
        if rows not in self.profile.bank_rows:
            raise BundleRefused(
                f"{bundle.folder}: a bank of {rows} rows; the engine takes {self.profile.bank_rows.least} to"
                f" {self.profile.bank_rows.most}"
            )
        augmented = bundle.bank().augmented()
        self.thread.call(lambda session: session.load_bank(bundle.id, augmented), timeout_s=self.timeout_s)
        self.users[bundle.id] = self.users.get(bundle.id, 0) + 1

    def unload(self, bundle_id: str) -> None:
        self.users[bundle_id] -= 1
        if self.users[bundle_id]:
            return
        del self.users[bundle_id]
        if not self.users:
            self.thread.close()
        elif self.thread.failure is None:
            self.thread.call(lambda session: session.unload_bank(bundle_id), timeout_s=self.timeout_s)

    def submit(
        self, frame: NDArray[np.uint8], placement: Placement, bank: str
    ) -> "tuple[Future[Answer], ...]":
        """Copy a frame into free slots and ask for its judging; returns before the last answer.

        A frame of more tiles than the engine takes at once needs several slots, one after the other.
        """
        tiles, most = placement.cut(frame), self.profile.frames.most
        return tuple(
            self._submit(tiles[first : first + most], placement, bank, first // most)
            for first in range(0, len(tiles), most)
        )

    def _submit(
        self, tiles: NDArray[np.uint8], placement: Placement, bank: str, run: int
    ) -> "Future[Answer]":
        slot = self._slot_for(tiles.nbytes)
        try:
            # Into pinned memory, by the thread that brings the frame, while the GPU judges the last one.
            np.copyto(slot.pinned.array[: tiles.nbytes].reshape(tiles.shape), tiles)
            n, height_px, width_px, channels = tiles.shape
            shape = n, height_px, width_px, channels
            task = Task(slot=slot, shape=shape, placement=placement, bank=bank, run=run)
            future = self.thread.submit(lambda session: self._start(session, task), timeout_s=self.timeout_s)
        except BaseException:
            self._free.put_nowait(slot)
            raise
        future.add_done_callback(lambda _: self._free.put_nowait(slot))
        return future

    def _start(self, session: Session, task: Task) -> Callable[[], Answer]:
        if session.settled(task):
            return session.start(task)
        with self.thread.patience(self.options.first_run_timeout_s):
            return session.start(task)

    def _slot_for(self, nbytes: int) -> Slot:
        try:
            slot = self.thread.wait(lambda s: self._free.get(timeout=s), timeout_s=self.timeout_s)
        except queue.Empty:
            raise self.thread.failure or DeviceHung(
                f"GPU: no frame was answered within {self.timeout_s:g} s; this process must end"
            ) from None
        try:
            if slot.capacity < nbytes:
                self.thread.call(lambda session: session.grow(slot, nbytes), timeout_s=self.timeout_s)
        except BaseException:
            self._free.put_nowait(slot)
            raise
        return slot


class TensorRtRuntime:
    """A bundle on the GPU. Any thread may judge with it; the GPU itself belongs to one of its own."""

    def __init__(
        self,
        bundle: Bundle,
        options: TensorRtOptions | None = None,
        *,
        open_it: Callable[[], Session] | None = None,
    ) -> None:
        """Open the GPU, load the bundle's engine, compiled now if it is not cached, and its bank.

        Args:
            bundle: what to judge with.
            options: how it is compiled and run.
            open_it: opens another session than the real one.

        Raises:
            RuntimeUnavailable: wheel, PyCUDA, driver or GPU is missing.
            EngineNotBuilt: the builder made no engine.
            DeviceOutOfMemory: the GPU has no room.
        """
        options = options or TensorRtOptions()
        gpu = _Gpu(
            bundle,
            open_it or (lambda: open_session(bundle, options)),
            options,
        )
        try:
            gpu.load(bundle)
        except BaseException:
            gpu.thread.close()
            raise
        self._join(bundle, gpu)

    def _join(self, bundle: Bundle, gpu: _Gpu) -> None:
        self._bundle = bundle
        self._gpu: _Gpu | None = gpu
        self._place = lru_cache(maxsize=_PLACEMENTS_KEPT)(self._placed)

    def beside(self, bundle: Bundle) -> "TensorRtRuntime":
        """Return a runtime for another product, on the same GPU and with the same engine.

        Only its memory bank is brought to the GPU; both stay ready, so a changeover is judging with the
        other runtime. Each is closed on its own, and the last one closes the GPU.

        Raises:
            BundleRefused: it has another graph, or frames that the engine was not built for, so it needs
                an engine of its own.
            DeviceOutOfMemory: the GPU has no room for its bank.
        """
        gpu = self._opened()
        if bundle.manifest.graph_sha256 != gpu.graph_sha256:
            raise BundleRefused(
                f"{bundle.folder}: has another graph than the engine on the GPU; open a runtime of its own"
            )
        if not gpu.profile.covers(gpu.options.profile_for(bundle.manifest)):
            raise BundleRefused(
                f"{bundle.folder}: its frames are larger than the tiles that the GPU's engine was built for;"
                " open a runtime of its own"
            )
        gpu.load(bundle)
        other = object.__new__(TensorRtRuntime)
        other._join(bundle, gpu)
        return other

    @property
    def name(self) -> str:
        """The runtime's kind."""
        return "tensorrt"

    @property
    def facts(self) -> RuntimeFacts:
        """What it runs on, and how exactly it counts: a proof of parity holds for these alone."""
        return self._opened().facts

    def judge(self, frame: NDArray[np.uint8], regions: tuple[Region, ...] = ()) -> AnomalyResult:
        """Judge one frame; see `Runtime`.

        Raises:
            DeviceFailed: the GPU may not be asked any more; this process must end.
            DeviceOutOfMemory: the GPU has no room, even after idle buffers were dropped.
        """
        return self.submit(frame, regions)()

    def scores(
        self, frames: Sequence[NDArray[np.uint8]], regions: Sequence[tuple[Region, ...]]
    ) -> tuple[FrameScore, ...]:
        """Score the frames of a part, the upload of one beside the judging of the last; see `Runtime`."""
        return score_in_turn(self._submit_for_score, frames, regions, at_once=_AT_ONCE)

    def _submit_for_score(self, frame: NDArray[np.uint8], regions: tuple[Region, ...]) -> Callable[[], float]:
        # The map comes with it: an engine's outputs are computed together.
        answer = self.submit(frame, regions)
        return lambda: answer().score

    def submit(
        self, frame: NDArray[np.uint8], regions: tuple[Region, ...] = ()
    ) -> Callable[[], AnomalyResult]:
        """Send one frame to the GPU and return at once with a function that waits for the answer.

        The frame is copied and may be reused. Two runs may be under way: the upload of one runs beside
        the judging of the other. A frame of more tiles than one run takes waits for room here.
        """
        gpu = self._opened()
        shaped = with_channels(frame)
        placement = self._place(shaped.shape[0], shaped.shape[1], regions)
        _refuse_beyond(gpu.profile, placement)
        futures = gpu.submit(shaped, placement, self._bundle.id)
        return lambda: _result(
            [gpu.thread.result(future, timeout_s=gpu.timeout_s) for future in futures], placement
        )

    def warm_up(
        self, *, height_px: int, width_px: int, channels: int, regions: tuple[Region, ...] = ()
    ) -> None:
        """Judge black frames of one size, so that the first part finds all kernels and graphs made."""
        black = np.zeros((height_px, width_px, channels), dtype=np.uint8)
        for _ in range(_WARM_UP_RUNS):
            waiting = [self.submit(black, regions) for _ in range(2)]
            for wait in waiting:
                wait()
        gpu = self._opened()
        gpu.thread.call(lambda session: session.keep_kernels(), timeout_s=gpu.timeout_s)

    def close(self) -> None:
        """Take the bank from the GPU, and close the GPU if no other product is on it."""
        if self._gpu is not None:
            gpu, self._gpu = self._gpu, None
            self._place.cache_clear()
            gpu.unload(self._bundle.id)

    def _opened(self) -> _Gpu:
        if self._gpu is None:
            raise ValueError("the runtime is closed")
        return self._gpu

    def _placed(self, height_px: int, width_px: int, regions: tuple[Region, ...]) -> Placement:
        manifest = self._bundle.manifest
        return place(
            height_px=height_px,
            width_px=width_px,
            regions=regions,
            size_px=manifest.size_px,
            grid=manifest.grid,
            tiling=manifest.tiling,
        )


def _refuse_beyond(profile: Profile, placement: Placement) -> None:
    height_px, width_px = placement.shape
    if height_px in profile.height_px and width_px in profile.width_px:
        return
    raise FrameRefused(
        f"{width_px}×{height_px} pixels to judge; this engine takes {profile.width_px.least} to"
        f" {profile.width_px.most} by {profile.height_px.least} to {profile.height_px.most}: make the inspect"
        " regions smaller, or use the runtime openvino"
    )


def _result(answers: Sequence[Answer], placement: Placement) -> AnomalyResult:
    scores, maps = (np.concatenate(arrays) for arrays in zip(*answers, strict=True))
    # As in OpenVINO's: what a TopK does with NaN is not defined.
    score = float(scores.max()) if np.isfinite(maps).all() else float("nan")
    anomaly_map = placement.stitch(maps)
    anomaly_map.flags.writeable = False
    return AnomalyResult(score=score, anomaly_map=anomaly_map, box=placement.box)
