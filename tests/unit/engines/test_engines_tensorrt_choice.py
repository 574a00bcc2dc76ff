"""Which runtime is taken, what is said where one is missing, and the benchmark that needs a GPU."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from structlog.testing import capture_logs

from fake_gpu import FACTS
from partgate_engines import (
    Bundle,
    GraphRefused,
    RuntimeUnavailable,
    _runtime,
    _tensorrt_choice,
    open_runtime,
)
from partgate_engines._cuda_errors import DeviceFailed, DeviceOutOfMemory, EngineNotBuilt
from partgate_engines._tensorrt_api import TensorRt, find_tensorrt
from partgate_engines._tensorrt_choice import RuntimeChoice, choose, require_tensorrt, runtime_choices
from partgate_engines._tensorrt_open import wheel_for
from partgate_engines.anomaly import Learned

Draw = Callable[..., NDArray[np.uint8]]


@pytest.fixture(scope="module")
def bundle(learned: Learned, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """One bundle for all tests here: none may damage it."""
    return learned.save(tmp_path_factory.mktemp("bundle"), product="weave")


@pytest.fixture(scope="session")
def rtx() -> TensorRt:
    return find_tensorrt("tensorrt_rtx")


def test_a_gpu_that_rtx_leaves_out_is_said(rtx: TensorRt) -> None:
    hopper = replace(FACTS, name="NVIDIA H200", capability="9.0")
    with pytest.raises(RuntimeUnavailable, match=r"H200 \(compute capability 9\.0\); install tensorrt"):
        wheel_for(hopper, "tensorrt_rtx")
    assert wheel_for(FACTS, "tensorrt_rtx") is rtx


def _absent(what: str) -> Callable[[], Any]:
    def find() -> Any:
        raise RuntimeUnavailable(what)

    return find


def test_with_gpu_and_wheel_auto_takes_tensorrt_and_says_why(rtx: TensorRt) -> None:
    choices = runtime_choices(lambda: FACTS, lambda: rtx)
    assert [(choice.kind, choice.usable) for choice in choices] == [("tensorrt", True), ("openvino", True)]
    with capture_logs() as logs:
        assert choose(choices) == "tensorrt"
    assert [(line["event"], line["kind"]) for line in logs] == [("runtime.chosen", "tensorrt")]
    assert "Fake 4090" in logs[0]["why"]
    require_tensorrt(choices[0])


@pytest.fixture
def auto_is_tensorrt(monkeypatch: pytest.MonkeyPatch) -> Callable[[Exception], None]:
    """Let this machine have a GPU whose opening fails."""

    def set_up(error: Exception) -> None:
        opened = _runtime._opened

        def fail(bundle: Bundle, kind: Any, *rest: Any) -> Any:
            if kind == "tensorrt":
                raise error
            return opened(bundle, kind, *rest)

        monkeypatch.setattr(_tensorrt_choice, "choose", lambda: "tensorrt")
        monkeypatch.setattr(_runtime, "_opened", fail)

    return set_up


@pytest.mark.parametrize("kind", [EngineNotBuilt, GraphRefused, DeviceOutOfMemory])
def test_auto_falls_back_to_openvino_and_says_why(
    auto_is_tensorrt: Callable[[Exception], None], bundle: Bundle, draw: Draw, kind: type[Exception]
) -> None:
    auto_is_tensorrt(kind("the builder gave up"))
    with capture_logs() as logs:
        runtime = open_runtime(bundle)
    assert runtime.name == "openvino"
    assert np.isfinite(runtime.judge(draw(1)).score)
    runtime.close()
    (said,) = [line for line in logs if line["event"] == "runtime.fell_back"]
    assert (said["log_level"], said["why"]) == ("warning", "the builder gave up")
    assert "openvino" in said["what_now"]
    # Who asks for it by name gets the error.
    with pytest.raises(kind):
        open_runtime(bundle, "tensorrt")


def test_auto_never_hides_a_device_that_failed(
    auto_is_tensorrt: Callable[[Exception], None], bundle: Bundle
) -> None:
    auto_is_tensorrt(DeviceFailed("an illegal memory access was encountered"))
    with pytest.raises(DeviceFailed):
        open_runtime(bundle)


@pytest.mark.parametrize(
    ("facts", "wheel", "says"),
    [
        pytest.param(_absent("no NVIDIA GPU"), None, "no NVIDIA GPU", id="no GPU"),
        pytest.param(lambda: FACTS, _absent("install tensorrt"), "install tensorrt", id="no wheel"),
        pytest.param(lambda: replace(FACTS, capability="9.0"), None, "does not serve", id="not served"),
    ],
)
def test_what_is_missing_is_said_and_auto_takes_openvino(
    rtx: TensorRt, facts: Callable[[], Any], wheel: Callable[[], Any] | None, says: str
) -> None:
    choices = runtime_choices(facts, wheel or (lambda: rtx))
    assert not choices[0].usable
    assert says in choices[0].why
    with capture_logs() as logs:
        assert choose(choices) == "openvino"
    assert says in logs[0]["not_usable"]["tensorrt"]
    with pytest.raises(RuntimeUnavailable, match=says):
        require_tensorrt(choices[0])


def test_without_any_runtime_all_reasons_are_given() -> None:
    none = tuple(
        RuntimeChoice(kind=kind, usable=False, why=f"{kind} is missing") for kind in ("tensorrt", "openvino")
    )
    with pytest.raises(RuntimeUnavailable, match="tensorrt is missing; openvino: openvino is missing"):
        choose(none)


@pytest.mark.parametrize(
    ("second", "written", "failed"),
    [
        pytest.param("AssertionError", 2, "b", id="a check"),
        pytest.param("DeviceFailed", 1, "b, c", id="the GPU"),
    ],
)
def test_a_gpu_check_that_fails_takes_no_other_away(
    tmp_path: Path, second: str, written: int, failed: str
) -> None:
    code = f"""
import sys
from benchmarks import gpu
from benchmarks._result import Result
from partgate_engines import DeviceFailed
def measured(folder):
    return [Result(name="(x)", ours=1, other=2, ratio=2, unit="ms", n=1, machine="none")]
def failing(folder):
    raise {second}("for a reason")
gpu.require_tensorrt = lambda: None
gpu.CHECKS = {{"a": measured, "b": failing, "c": measured}}
sys.argv = ["gpu", "--out", "bench-gpu.json"]
sys.exit(gpu.main())
"""
    ran = _in_python(code, tmp_path)
    assert ran.returncode == 1, ran.stderr
    assert ran.stderr.endswith(f": {failed}\n")
    assert len(json.loads((tmp_path / "bench-gpu.json").read_text())) == written


def _in_python(code: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    root = str(Path(__file__).parents[3])
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


def test_the_gpu_benchmark_says_what_is_missing_instead_of_figures(tmp_path: Path) -> None:
    code = """
import sys
sys.modules["pycuda"] = None  # also on a machine that has one
from benchmarks.gpu import main
sys.argv = ["gpu", "e", "--out", "bench-gpu.json"]
sys.exit(main())
"""
    ran = _in_python(code, tmp_path)
    assert ran.returncode == 69, ran.stderr
    assert "install pycuda" in ran.stderr
    assert not (tmp_path / "bench-gpu.json").exists()
