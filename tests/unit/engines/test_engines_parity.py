"""The parity gate: what a runtime may differ by, and what it may not."""

import json
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from one_by_one import OneByOne
from partgate_engines import (
    AnomalyResult,
    Bundle,
    BundleRefused,
    Fingerprint,
    FrameRefused,
    GoldenFrame,
    OpenVinoOptions,
    ParityFailed,
    ParityReport,
    RuntimeFacts,
    Signer,
    disagreement,
    fingerprint_of,
    open_runtime,
    verify_parity,
)
from partgate_engines._golden import golden_bytes, read_golden
from partgate_engines._openvino_runtime import OpenVinoRuntime
from partgate_engines._parity import spearman
from partgate_engines.anomaly import GoodImage, Learned, _golden_frames, recomputed, update
from partgate_engines.anomaly._golden_frames import choose_golden
from partgate_station import Region, Thresholds, Verdict

Answer = tuple[float, NDArray[np.float32]]
F32 = RuntimeFacts(device="a device", driver="1.0", version="2.0", precision="f32")
BF16 = replace(F32, precision="bf16")
INT8 = replace(F32, precision="int8")


@dataclass
class Altered(OneByOne):
    """Says of a golden frame what the bundle says, changed by a function."""

    golden: Sequence[GoldenFrame]
    change: Callable[[float, NDArray[np.float32]], Answer]
    facts: RuntimeFacts = F32
    name: str = "altered"

    def judge(self, frame: NDArray[np.uint8], regions: tuple[Region, ...] = ()) -> AnomalyResult:
        (known,) = [golden for golden in self.golden if golden.pixels is frame]
        score, anomaly_map = self.change(known.score, known.anomaly_map.copy())
        return AnomalyResult(score=score, anomaly_map=anomaly_map)

    def close(self) -> None: ...


def gate(
    bundle: Bundle, change: Callable[[float, NDArray[np.float32]], Answer], facts: RuntimeFacts
) -> ParityReport:
    golden = bundle.golden()
    return verify_parity(bundle, Altered(golden, change, facts), golden)


def shuffled(score: float, anomaly_map: NDArray[np.float32]) -> Answer:
    return score, np.random.default_rng(1).permuted(anomaly_map).astype(np.float32)


def test_openvino_passes_with_references_by_torch(bundle: Bundle) -> None:
    runtime = open_runtime(bundle, "openvino")
    report = verify_parity(bundle, runtime)
    runtime.close()
    assert report.passed, report.problems
    assert report.references.startswith("torch ")
    assert report.flips == 0
    assert report.rank_correlation is not None
    assert report.rank_correlation > 0.9999
    assert max(frame.map_difference or 0 for frame in report.frames) < 1e-4
    assert report.fingerprint.runtime == "openvino"
    assert report.fingerprint.precision == "f32"
    assert report.fingerprint.bundle == bundle.id
    report.require()
    assert ParityReport.model_validate_json(report.model_dump_json()) == report


def test_torch_computes_the_same_references_again(bundle: Bundle) -> None:
    frames, name = recomputed(bundle, None)
    assert name == bundle.manifest.golden.references
    for again, kept in zip(frames, bundle.golden(), strict=True):
        assert again.score == pytest.approx(kept.score, rel=1e-5)
        np.testing.assert_allclose(again.anomaly_map, kept.anomaly_map, rtol=1e-3, atol=0.1)


def test_golden_frames_are_real_and_drawn_ones(bundle: Bundle, good: Sequence[GoodImage]) -> None:
    golden = bundle.golden()
    by_name = {frame.name.partition(" (")[0]: frame for frame in golden}
    assert {"typical good image", "thin scratch", "all black", "hole", "all white"} <= set(by_name)
    assert "good image with the worst score" in by_name
    typical, scratch = by_name["typical good image"], by_name["thin scratch"]
    assert any(np.array_equal(typical.pixels, image.pixels) for image in good)
    changed = (typical.pixels != scratch.pixels).sum(axis=0)
    assert 1 <= changed.max() <= 3, "the scratch is two pixels wide at the camera's resolution"
    assert scratch.score > typical.score
    assert bundle.manifest.calibration.thresholds.verdict(typical.score) is Verdict.ACCEPT
    assert not typical.pixels.flags.writeable


def test_an_updated_bundle_has_references_for_its_own_bank(
    bundle: Bundle,
    good: Sequence[GoodImage],
    draw: Callable[..., NDArray[np.uint8]],
    signer: Signer,
    tmp_path: Path,
) -> None:
    added = [GoodImage(pixels=draw(900 + n, defect=True), origin=f"odd {n}") for n in range(4)]
    better = update(bundle, good=good, added=added).save(
        tmp_path / "better", product="weave", signer=signer, good=(*good, *added)
    )
    runtime = open_runtime(better, "openvino")
    assert verify_parity(better, runtime).passed
    assert not verify_parity(better, runtime, bundle.golden()).passed, (
        "the old references are of another bank"
    )
    runtime.close()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        pytest.param(lambda s, m: (s, m), None, id="equal"),
        pytest.param(lambda s, m: (s * 1.0001, m * np.float32(1.0001)), None, id="rounding"),
        pytest.param(lambda s, m: (7.0, m), "expected", id="constant-score"),
        pytest.param(lambda s, m: (s * 1.01, m), "the score is", id="one-percent"),
        pytest.param(shuffled, "the map differs", id="shuffled-map"),
        pytest.param(lambda s, m: (s, np.zeros_like(m)), "the map differs", id="no-map"),
        pytest.param(lambda s, m: (s, m[:-1]), "another shape", id="another-shape"),
        pytest.param(lambda s, m: (float("nan"), m), "not a number", id="nan-score"),
        pytest.param(lambda s, m: (s, m * np.float32("nan")), "not numbers", id="nan-map"),
    ],
)
def test_what_float32_may_differ_by(
    change: Callable[[float, NDArray[np.float32]], Answer], says: str | None, bundle: Bundle
) -> None:
    report = gate(bundle, change, F32)
    if says is None:
        assert report.passed, report.problems
        return
    assert not report.passed
    assert says in " ".join(report.problems)
    with pytest.raises(ParityFailed, match=r"altered \(f32\) on a device"):
        report.require()
    assert ParityReport.model_validate_json(report.model_dump_json()) == report


def scaled(by: float) -> Callable[[float, NDArray[np.float32]], Answer]:
    return lambda score, anomaly_map: (score * by, anomaly_map * np.float32(by))


def noisy(share: float) -> Callable[[float, NDArray[np.float32]], Answer]:
    def change(score: float, anomaly_map: NDArray[np.float32]) -> Answer:
        noise = np.random.default_rng(2).normal(1, share, anomaly_map.shape)
        return score * (1 + share), (anomaly_map * noise).astype(np.float32)

    return change


@pytest.mark.parametrize(
    ("change", "says"),
    [
        pytest.param(noisy(0.001), None, id="a-thousandth"),
        pytest.param(lambda s, m: (s * 1.0005, m * np.float32(1.02)), None, id="all-alike"),
        pytest.param(scaled(1.04), None, id="four-hundredths"),
        pytest.param(scaled(1.06), "of its scale", id="six-hundredths"),
        pytest.param(scaled(0.85), "of its scale", id="too-small"),
        pytest.param(scaled(0.6), "of its scale", id="far-too-small"),
        pytest.param(scaled(2.0), "of its scale", id="doubled"),
        pytest.param(lambda s, m: (s, m * np.float32(1.2)), "the map differs", id="the-map-alone"),
        pytest.param(noisy(0.3), "rank correlation", id="another-order"),
        pytest.param(shuffled, "rank correlation", id="shuffled"),
        pytest.param(lambda s, m: (s * 0.001, m), "expected REJECT", id="flips"),
        pytest.param(lambda s, m: (float("nan"), m), "not a number", id="nan"),
    ],
)
@pytest.mark.parametrize("facts", [BF16, INT8], ids=["bf16", "int8"])
def test_what_a_reduced_precision_may_differ_by(
    change: Callable[[float, NDArray[np.float32]], Answer],
    says: str | None,
    facts: RuntimeFacts,
    bundle: Bundle,
) -> None:
    report = gate(bundle, change, facts)
    assert report.passed is (says is None), report.problems
    assert (says or "") in " ".join(report.problems)


def test_a_runtime_that_refuses_a_golden_frame_does_not_pass(bundle: Bundle) -> None:
    def refuse(score: float, anomaly_map: NDArray[np.float32]) -> Answer:
        raise FrameRefused("no such size")

    report = gate(bundle, refuse, F32)
    assert "no such size" in " ".join(report.problems)
    assert all(frame.here is None for frame in report.frames)


def test_a_proof_holds_for_one_machine(bundle: Bundle) -> None:
    def of(facts: RuntimeFacts) -> str:
        return fingerprint_of(bundle, Altered((), lambda s, m: (s, m), facts)).digest

    said = [field.name for field in fields(RuntimeFacts)]
    others = [replace(F32, **{name: "another"}) for name in said]
    assert len({of(F32), *map(of, others)}) == 1 + len(said)
    assert of(F32) == of(replace(F32))


def test_a_proof_holds_for_one_set_of_bounds(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = Altered((), lambda s, m: (s, m))
    before = fingerprint_of(bundle, runtime)
    monkeypatch.setattr("partgate_engines._machine.GATE", before.gate + 1)
    assert fingerprint_of(bundle, runtime).digest != before.digest


def test_a_proof_holds_for_one_way_of_compiling(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another processor of the same name, streams, threads, or another thing compiled of the graph."""

    def of(cameras: int, threads: int = 1) -> str:
        options = OpenVinoOptions(precision="f32", cameras=cameras, threads=threads)
        with closing(OpenVinoRuntime(bundle, options)) as runtime:
            return fingerprint_of(bundle, runtime).digest

    found = {of(cameras=1), of(cameras=2, threads=2), of(cameras=1, threads=2)}
    monkeypatch.setattr("partgate_engines._openvino_runtime.processor_features", lambda: "another")
    found.add(of(cameras=1))
    monkeypatch.setattr("partgate_engines._openvino_runtime.COMPILED", 0)
    found.add(of(cameras=1))
    assert len(found) == 5


def test_a_fingerprint_of_before_is_read_and_matches_nothing(bundle: Bundle) -> None:
    now = fingerprint_of(bundle, Altered((), lambda s, m: (s, m)))
    before = now.model_dump(exclude={"capability", "compiled", "gate"})
    assert Fingerprint.model_validate(before) != now


def kept(report: ParityReport, first: dict[str, object], **changes: object) -> ParityReport:
    """Return a report as a file may hold it: with its first frame, and itself, changed."""
    said = report.model_dump(mode="json")
    said["frames"][0].update(first)
    return ParityReport.model_validate_json(json.dumps({**said, **changes}))


@pytest.mark.parametrize("facts", [F32, BF16], ids=["f32", "bf16"])
def test_a_kept_report_proves_no_more_than_its_frames_say(facts: RuntimeFacts, bundle: Bundle) -> None:
    manifest = bundle.manifest
    report = gate(bundle, lambda s, m: (s, m), facts)
    assert kept(report, {}).proves(manifest)
    frame = report.frames[0]
    contradictions: tuple[dict[str, object], ...] = (
        {"here": frame.reference * 1.2},
        {"here": None},
        {"problem": "no such size"},
        {"map_difference": None},
        {"name": "another frame"},
        {"reference": frame.reference * 1.2, "here": frame.reference * 1.2},
    )
    for first in contradictions:
        found = kept(report, first)
        assert found.passed, "that is what it says of itself"
        assert not found.proves(manifest), first
    for changes in ({"frames": ()}, {"problems": ("the map differs",)}):
        assert not kept(report, {}, **changes).proves(manifest), changes
    fewer = report.model_copy(update={"frames": report.frames[1:]})
    assert not fewer.proves(manifest)
    disordered = report.model_copy(update={"rank_correlation": 0.9})
    assert disordered.proves(manifest) is (facts is F32)


def test_a_disagreement_is_one_beyond_rounding(bundle: Bundle) -> None:
    frame, thresholds = bundle.golden()[0], bundle.manifest.calibration.thresholds
    same = AnomalyResult(score=frame.score, anomaly_map=frame.anomaly_map)
    assert disagreement(frame, same, thresholds) is None
    other = AnomalyResult(score=frame.score * 1.1, anomaly_map=frame.anomaly_map)
    assert frame.name in (disagreement(frame, other, thresholds) or "")


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        pytest.param([1, 2, 3, 4], [10, 20, 30, 40], 1.0, id="same-order"),
        pytest.param([1, 2, 3, 4], [4, 3, 2, 1], -1.0, id="reversed"),
        pytest.param([1, 2, 2, 3], [1, 2, 3, 4], 0.948683, id="ties"),
        pytest.param([1, 1, 1], [5, 5, 5], 1.0, id="no-order-in-either"),
        pytest.param([1, 1, 1], [1, 2, 3], 0.0, id="no-order-in-one"),
    ],
)
def test_spearmans_rank_correlation(first: list[float], second: list[float], expected: float) -> None:
    assert spearman(np.array(first, float), np.array(second, float)) == pytest.approx(expected, abs=1e-6)


THRESHOLDS = Thresholds(review=10.0, reject=20.0)


def images(count: int, size_px: int = 64) -> list[GoodImage]:
    return [
        GoodImage(pixels=np.full((size_px, size_px), 10 * n, np.uint8), origin=f"{n}.png")
        for n in range(count)
    ]


def by_brightness(pixels: NDArray[np.uint8]) -> Answer:
    return float(pixels.mean()), np.zeros((2, 2), np.float32)


def chosen(good: Sequence[GoodImage], scores: Sequence[float], **changes: object) -> list[str]:
    given: dict[str, object] = {
        "size_px": 64,
        "regions": (),
        "thresholds": THRESHOLDS,
        "judge": by_brightness,
    }
    frames = choose_golden(good, np.array(scores), **{**given, **changes})  # type: ignore[arg-type]
    return [frame.name for frame in frames]


def test_a_frame_that_rounding_could_turn_is_not_golden() -> None:
    """The worst good image may lie a last bit below `review`, which was set by it."""
    names = chosen(
        images(5),
        [0, 1, 2, 3, 4],
        judge=lambda pixels: (float(np.nextafter(10, 0)), by_brightness(pixels)[1]),
    )
    assert names == []
    good = images(5)

    def judge(pixels: NDArray[np.uint8]) -> Answer:
        return (9.9999 if pixels.max() == 40 else 1.0), np.zeros((2, 2), np.float32)

    assert "good image with the worst score (3.png)" in chosen(good, [0, 1, 2, 3, 4], judge=judge)


def test_golden_frames_take_no_more_room_than_they_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_golden_frames, "LARGEST_GOLDEN", 3 * 64 * 64)
    assert len(chosen(images(5), [0, 1, 2, 3, 4])) == 3


@pytest.mark.parametrize("scores", [[np.nan] * 3, [1.0]], ids=["copies", "mirrors"])
def test_without_held_out_scores_the_first_image_is_typical(scores: list[float]) -> None:
    names = chosen(images(3 if len(scores) == 3 else 1), scores)
    assert "typical good image (0.png)" in names


def test_frames_are_drawn_without_any_image_and_fit_the_regions(learned: Learned, tmp_path: Path) -> None:
    region = Region(polygon=((0.0, 0.0), (300.0, 0.0), (300.0, 90.0)))
    frames = choose_golden(
        (), np.zeros(0), size_px=64, regions=(region,), thresholds=THRESHOLDS, judge=by_brightness
    )
    assert [(frame.name, frame.pixels.shape) for frame in frames] == [
        ("all black", (90, 300)), ("all white", (90, 300)),
    ]  # fmt: skip
    assert {e.name for e in learned.save(tmp_path, product="x").manifest.golden.frames} == {
        "all black",
        "all white",
    }


def test_golden_frames_that_are_not_what_the_manifest_says_are_refused(bundle: Bundle) -> None:
    golden, (gh, gw) = bundle.golden(), bundle.manifest.grid

    def grid(_height_px: int, _width_px: int) -> tuple[int, int]:
        return gh, gw

    path, said = Path("golden.safetensors"), bundle.manifest.golden
    assert [f.name for f in read_golden(path, golden_bytes(golden), said, grid)] == [f.name for f in golden]
    with pytest.raises(BundleRefused, match="the manifest names"):
        read_golden(path, golden_bytes(golden[1:]), said, grid)
    with pytest.raises(BundleRefused, match="expected float32"):
        read_golden(path, golden_bytes(golden), said, lambda _height_px, _width_px: (gh + 1, gw))
    with pytest.raises(BundleRefused, match="not a safetensors file"):
        read_golden(path, b"hello", said, grid)


def test_a_large_frame_gets_the_same_from_torch_and_openvino(learned: Learned, tmp_path: Path) -> None:
    """What is done to a frame before the graph is done for the references as well."""
    random = np.random.default_rng(3)
    large = random.integers(0, 256, (700, 900, 3)).astype(np.uint8)
    bundle = learned.save(tmp_path, product="large", good=[GoodImage(pixels=large, origin="large.png")])
    assert bundle.manifest.golden.references.startswith("torch ")
    runtime = open_runtime(bundle, "openvino")
    report = verify_parity(bundle, runtime)
    runtime.close()
    assert report.passed, report.problems
