"""`python -m benchmarks.gpu`: the short checks that need a GPU; writes bench-gpu.json.

Each says which wheel ran on which device, and each fails clearly without one. Nothing is timed before
the answers agree, and the file is written after each check, so that one that fails takes no other away.
(d) of the list is about a model that this project does not ship: it checks the two operators. DINOv2 is
left out of (a), and 384 px stand for its 392: the learner takes convolutional backbones, whose stride is 32.
"""

import argparse
import contextlib
import json
import statistics
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks._arms import Answers, Arm, both, compare
from benchmarks._result import Result
from partgate_cameras import draw_part
from partgate_engines import Bundle, open_runtime
from partgate_engines._cuda_errors import DeviceFailed
from partgate_engines._tensorrt import TensorRtRuntime
from partgate_engines._tensorrt_choice import require_tensorrt, tensorrt_choice
from partgate_engines._tensorrt_open import Precision, TensorRtOptions
from partgate_engines._tensorrt_session import Session, Slot, Task
from partgate_engines.anomaly import GoodImage, Learned, LearnSettings, learn
from partgate_station import PartgateError, VirtualCamera

Pixels = NDArray[np.uint8]

LINE = VirtualCamera(kind="virtual", camera_id="top", seed=1, size_px=448)
BACKBONES = {
    "tf_efficientnet_lite0": ("blocks.2", "blocks.4"),
    "resnet18": ("layer2", "layer3"),
    "wide_resnet50_2": ("layer2", "layer3"),
}
SIZES_PX = (256, 384, 512)
BANK_ROWS = (500, 2000, 8000, 16_384)
ROUNDS = 200


def _frames(count: int) -> list[Pixels]:
    return [draw_part(LINE, number).image for number in range(count)]


def _weights(backbone: str, folder: Path) -> Path | None:
    """Return random weights of a backbone, the same every time; None for the packaged one."""
    if backbone == "tf_efficientnet_lite0":
        return None
    import timm
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    path = folder / f"{backbone}.safetensors"
    save_file(timm.create_model(backbone, pretrained=False).state_dict(), path)
    return path


def learned_at(folder: Path, *, backbone: str, size_px: int, bank_rows: int = 2000) -> Learned:
    """Learn a product on one backbone at one size."""
    good_line = LINE.model_copy(update={"defect_rate": 0.0})
    good = [GoodImage(pixels=draw_part(good_line, n).image, origin=str(n)) for n in range(20)]
    settings = LearnSettings(
        backbone=backbone,
        layers=BACKBONES[backbone],
        size_px=size_px,
        bank_rows=bank_rows,
        weights=_weights(backbone, folder),
    )
    return learn(good, settings=settings, graphs=folder / "graphs")


def with_rows(learned: Learned, rows: int) -> Learned:
    """Return the product with a bank of so many rows: the same ones, moved a little, again and again."""
    bank = learned.bank
    random = np.random.default_rng(0)
    picked = np.arange(rows) % len(bank.rows)
    moved = bank.rows[picked] + random.normal(0, 1e-3, (rows, bank.rows.shape[1])).astype(np.float32)
    return replace(learned, bank=replace(bank, rows=moved, origin=bank.origin[picked]))


def _median_ms(work: Callable[[], object], rounds: int = ROUNDS, discarded: int = 20) -> float:
    for _ in range(discarded):
        work()
    took: list[float] = []
    for _ in range(rounds):
        started_s = time.perf_counter()
        work()
        took.append((time.perf_counter() - started_s) * 1000)
    return statistics.median(took)


def _agree(ours: Sequence[float], theirs: Sequence[float], tolerance: float) -> None:
    np.testing.assert_allclose(ours, theirs, rtol=tolerance)


def _result(name: str, *, ours: float, other: float, unit: str = "ms", n: int = ROUNDS) -> Result:
    return Result(
        name=name,
        ours=round(ours, 4),
        other=round(other, 4),
        ratio=round(other / ours, 3),
        unit=unit,
        n=n,
        machine=tensorrt_choice().why,
    )


def overhead(folder: Path) -> list[Result]:
    """(a) From a frame in host memory to its score, against the bare engine with everything bound."""
    found: list[Result] = []
    for backbone in BACKBONES:
        for size_px in SIZES_PX:
            learned = learned_at(folder, backbone=backbone, size_px=size_px)
            weights = _weights(backbone, folder)
            bundle = learned.save(folder / "bundles", product=backbone, weights=weights)
            for cuda_graph in (True, False):
                options = TensorRtOptions(engines=folder / "engines", cuda_graph=cuda_graph)
                name = f"(a) {backbone} at {size_px} px, {'CUDA graph' if cuda_graph else 'no CUDA graph'}"
                with contextlib.closing(TensorRtRuntime(bundle, options)) as runtime:
                    frame = _frames(1)[0]
                    _check(runtime, bundle, [frame])
                    whole_ms = _median_ms(partial(runtime.judge, frame))
                    found.append(_result(name, ours=whole_ms, other=_bare_ms(runtime, frame)))
    return found


def _check(runtime: TensorRtRuntime, bundle: Bundle, frames: list[Pixels], tolerance: float = 1e-3) -> None:
    with contextlib.closing(open_runtime(bundle, "openvino")) as cpu:
        _agree([runtime.judge(f).score for f in frames], [cpu.judge(f).score for f in frames], tolerance)


def _bare_ms(runtime: TensorRtRuntime, frame: Pixels) -> float:
    """Time what is queued on the GPU, upload and answer included, without threads and host copies."""
    gpu = runtime._opened()  # noqa: SLF001 - the bare engine lies behind the runtime's door
    placement = runtime._place(frame.shape[0], frame.shape[1], ())  # noqa: SLF001 - likewise
    height_px, width_px = frame.shape[:2]
    channels = 1 if frame.ndim == 2 else frame.shape[2]

    def work(session: Session) -> float:
        slot: Slot = session.slots[0]
        task = Task(
            slot=slot,
            shape=(1, height_px, width_px, channels),
            placement=placement,
            bank=runtime._bundle.id,  # noqa: SLF001 - likewise
        )

        def run() -> float:
            scores, _ = session.start(task)()
            return float(scores[0])

        return _median_ms(run)

    return gpu.thread.call(work, timeout_s=600)


def gpu_arm(bundle: Path, engines: Path) -> Callable[[], Answers]:
    """Judge on the GPU by TensorRT."""
    opened = Bundle.open(bundle, trusted=None)
    runtime, frames = TensorRtRuntime(opened, TensorRtOptions(engines=engines)), _frames(20)
    return lambda: [float(runtime.judge(frame).anomaly_map.max()) for frame in frames]


def torch_arm(bundle: Path, engines: Path) -> Callable[[], Answers]:
    """Judge on the GPU with anomalib's torch model, in float32 as it comes."""
    del engines
    import torch
    from torch.nn.functional import interpolate

    from partgate_engines.anomaly._backbone import build_model, normalisation
    from partgate_engines.anomaly._weights import find_weights

    if not torch.cuda.is_available():
        raise RuntimeError("torch here has no CUDA; check (b) needs the CUDA build of torch")
    # Torch's convolutions take TF32 unless told not to: scores then differ by 3.4e-3, from ours by as much.
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    opened = Bundle.open(bundle, trusted=None)
    manifest, frames = opened.manifest, _frames(20)
    weights = find_weights(manifest.backbone, None)
    model = build_model(
        backbone=manifest.backbone, layers=manifest.layers, size_px=manifest.size_px, weights=weights
    )
    model.num_neighbors = 1
    model.memory_bank = torch.from_numpy(np.array(opened.bank().rows))
    model = model.cuda()
    mean, deviation = (torch.tensor(v).reshape(1, 3, 1, 1).cuda() for v in normalisation(manifest.backbone))

    @torch.inference_mode()
    def score(frame: Pixels) -> float:
        pixels = torch.from_numpy(np.array(frame)).cuda().float().expand(1, 3, *frame.shape) / 255
        small = interpolate(pixels, (manifest.size_px, manifest.size_px), mode="bilinear", antialias=True)
        result: Any = model((small - mean) / deviation)
        return float(result.pred_score)

    return lambda: [score(frame) for frame in frames]


def head(folder: Path) -> list[Result]:
    """(b) The whole graph at growing banks, against anomalib's eager head."""
    learned = learned_at(folder, backbone="tf_efficientnet_lite0", size_px=256)
    found: list[Result] = []
    for rows in BANK_ROWS:
        bundle = with_rows(learned, rows).save(folder / "bundles", product=f"rows{rows}").folder
        arguments: dict[str, Any] = {"bundle": bundle, "engines": folder / "engines"}
        with both(Arm(gpu_arm, **arguments), Arm(torch_arm, **arguments)) as (ours, other):
            compared = compare(
                ours, other, rounds=30, same=lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3)
            )
        found.append(
            _result(
                f"(b) bank of {rows:,}", ours=compared.ours_ms, other=compared.other_ms, n=compared.rounds
            )
        )
    return found


def changing(folder: Path) -> list[Result]:
    """(c) Bringing another bank, which replaces refitting here, against building the engine again."""
    print(
        "(c) REFIT is not measured: a bank is an input of the graph here, so there is nothing to refit, and"
        " TensorRT 11.3 warns of wrong results as soon as it is enabled",
        file=sys.stderr,
    )
    learned = learned_at(folder, backbone="tf_efficientnet_lite0", size_px=256)
    bundle = learned.save(folder / "bundles", product="first")
    frames = _frames(5)
    started_s = time.perf_counter()
    with contextlib.closing(TensorRtRuntime(bundle)) as runtime:
        build_ms = (time.perf_counter() - started_s) * 1000
        took: list[float] = []
        for number in range(10):
            next_bundle = with_rows(learned, 1500 + number).save(folder / "bundles", product="next")
            started_s = time.perf_counter()
            with contextlib.closing(runtime.beside(next_bundle)) as beside:
                beside.judge(frames[0])
                took.append((time.perf_counter() - started_s) * 1000)
                _check(beside, next_bundle, frames)
    return [
        _result(
            "(c) another product to its first answer, against building",
            ours=statistics.median(took),
            other=build_ms,
            n=len(took),
        )
    ]


def worst_share(_folder: Path) -> list[Result]:
    """(d) The mean of the worst 1 % of 65,536 values by TopK; a full sort is refused by the builder."""
    from partgate_engines._cuda_pycuda import PyCudaDevice, load_driver

    values = np.random.default_rng(0).normal(size=(1, 65_536)).astype(np.float32)

    def sorted_mean() -> float:
        return float(np.sort(values[0])[-655:].mean())

    device = PyCudaDevice(load_driver())
    try:
        took_ms = _topk_ms(device, values, expected=sorted_mean())
    finally:
        device.close()
    name = "(d) TopK of 655 among 65,536, against a sort by numpy"
    return [_result(name, ours=took_ms, other=_median_ms(sorted_mean))]


def _topk_ms(device: Any, values: NDArray[np.float32], *, expected: float) -> float:
    """Time a TopK. What TensorRT holds goes when this returns, before the device."""
    from partgate_engines._tensorrt_api import find_tensorrt

    tensorrt = find_tensorrt()
    loaded = tensorrt.engine(_topk_plan(tensorrt, 655))
    stream, context = device.stream(), loaded[1].create_execution_context()
    source, target, back = device.allocate(values.nbytes), device.allocate(4), device.pinned(4)
    device.upload_now(source, values.reshape(-1).view(np.uint8))
    context.set_tensor_address("values", source.address)
    context.set_tensor_address("mean", target.address)

    def run() -> float:
        if not context.execute_async_v3(stream.handle):
            raise tensorrt.refusal("the TopK")
        device.download(back.array[:4], target, stream)
        stream.synchronize()
        return float(back.array[:4].view(np.float32)[0])

    _agree([run()], [expected], 1e-4)
    return _median_ms(run)


def _topk_plan(tensorrt: Any, count: int) -> bytes:
    from onnx import TensorProto, helper, numpy_helper

    from partgate_engines._tensorrt_build import parse

    nodes = [
        helper.make_node("TopK", ["values", "count"], ["top", "where"], axis=1),
        helper.make_node("ReduceMean", ["top"], ["mean"], axes=[1], keepdims=0),
    ]
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "worst",
            [helper.make_tensor_value_info("values", TensorProto.FLOAT, [1, 65_536])],
            [helper.make_tensor_value_info("mean", TensorProto.FLOAT, [1])],
            [numpy_helper.from_array(np.array([count], np.int64), "count")],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    builder = tensorrt.builder()
    network = parse(tensorrt, builder, model.SerializeToString())
    plan = builder.build_serialized_network(network, tensorrt.configuration(builder))
    return bytes(plan)


def uploads(_folder: Path) -> list[Result]:
    """(e) A frame of 5 Mpx to the GPU: pinned bytes, against pageable floats."""
    from partgate_engines._cuda_pycuda import PyCudaDevice, load_driver

    frame = np.random.default_rng(0).integers(0, 256, (2048, 2448, 3), dtype=np.uint8)
    floats = (frame / np.float32(255)).astype(np.float32).reshape(-1).view(np.uint8)
    device = PyCudaDevice(load_driver())
    try:
        stream, large = device.stream(), device.allocate(floats.nbytes)
        small, pinned = device.allocate(frame.nbytes), device.pinned(frame.nbytes)
        pinned.array[:] = frame.reshape(-1)

        def bytes_up() -> None:
            device.upload(small, pinned.array, stream)
            stream.synchronize()

        pinned_ms = _median_ms(bytes_up)
        pageable_ms = _median_ms(lambda: device.upload_now(large, floats))
    finally:
        device.close()
    return [
        _result(
            "(e) 5 Mpx to the GPU: pinned uint8, against pageable float32", ours=pinned_ms, other=pageable_ms
        )
    ]


def halves(folder: Path) -> list[Result]:
    """(f) Half precision in the backbone: rank correlation of the scores, and the time."""
    bundle = learned_at(folder, backbone="tf_efficientnet_lite0", size_px=256).save(
        folder / "bundles", product="half"
    )
    frames = _frames(200)
    scores: dict[Precision, NDArray[np.float64]] = {}
    took_ms: dict[Precision, float] = {}
    precisions: tuple[Precision, ...] = ("fp32", "fp16")
    for precision in precisions:
        with contextlib.closing(TensorRtRuntime(bundle, TensorRtOptions(precision=precision))) as runtime:
            scores[precision] = np.array([runtime.judge(frame).score for frame in frames])
            took_ms[precision] = _median_ms(partial(runtime.judge, frames[0]))
    ranks = [scores[precision].argsort().argsort().astype(np.float64) for precision in precisions]
    correlation = float(np.corrcoef(ranks[0], ranks[1])[0, 1])
    if correlation < 0.999:
        raise AssertionError(f"(f) rank correlation of fp16 and fp32 is {correlation:.5f}; expected >= 0.999")
    name = f"(f) fp16 against fp32, rank correlation {correlation:.5f}"
    return [_result(name, ours=took_ms["fp16"], other=took_ms["fp32"])]


CHECKS = {"a": overhead, "b": head, "c": changing, "d": worst_share, "e": uploads, "f": halves}


def run(names: Sequence[str], out: Path) -> tuple[list[Result], list[str]]:
    """Run checks one after the other, and write the results after each.

    Returns:
        The results, and the names of the checks that failed. After a GPU that failed no other is run.
    """
    results: list[Result] = []
    failed: list[str] = []
    for number, name in enumerate(names):
        try:
            with tempfile.TemporaryDirectory() as folder:
                results += CHECKS[name](Path(folder))
        except DeviceFailed:
            traceback.print_exc()
            return results, failed + list(names[number:])
        except Exception:  # noqa: BLE001 - whatever it is, the other checks are worth their time
            traceback.print_exc()
            failed.append(name)
        out.write_text(json.dumps([asdict(result) for result in results], indent=2) + "\n")
    return results, failed


def main() -> int:
    """Run the checks that were asked for; without a GPU, say what is missing and end with 69.

    Ends with 1 if a check failed or was not run, and names it.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*CHECKS, []], help="which; all if none is named")
    parser.add_argument("--out", type=Path, default=Path("bench-gpu.json"))
    arguments = parser.parse_args()
    try:
        require_tensorrt()
    except PartgateError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    from benchmarks._table import show

    results, failed = run(arguments.names or list(CHECKS), arguments.out)
    show(results)
    if failed:
        print(f"failed, or not run after a GPU that failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
