"""The station's throughput, recorder on and every image kept, against the bare runtime on the same frames."""

import contextlib
import tempfile
import threading
import time
from pathlib import Path

from sqlmodel import Session

from benchmarks._result import Result, machine
from benchmarks.judging import learned_bundle
from partgate.line import run_station
from partgate.records import Database, Home, Keys, activate, add_model, add_recipe
from partgate_cameras import draw_part
from partgate_engines import Bundle, open_runtime
from partgate_station import ContinuousTrigger, FolderCamera, Recipe, StationConfig

FRAMES = 200
FRAME_FOLDER = "frames"


def run(*, rounds: int) -> list[Result]:
    """Judge the same frames bare and through the station, in turn; the median ratio counts."""
    rounds = max(3, rounds // 10)
    with tempfile.TemporaryDirectory() as folder:
        home, config = _prepared(Path(folder))
        pairs = [(_bare(home), _station(home, config)) for _ in range(rounds)]
    bare, whole = zip(*pairs, strict=True)
    ratios = sorted(b / w for b, w in pairs)
    return [
        Result(
            name="parts per second of the station, every image kept, against the bare runtime",
            ours=round(FRAMES / sorted(whole)[rounds // 2], 1),
            other=round(FRAMES / sorted(bare)[rounds // 2], 1),
            ratio=round(ratios[rounds // 2], 3),
            unit="parts/s",
            n=rounds * FRAMES,
            machine=machine(),
        )
    ]


def _prepared(folder: Path) -> tuple[Home, StationConfig]:
    """Learn a product and write the frames that both sides read."""
    import cv2

    from benchmarks.judging import LINE

    home = Home.open(folder / "home")
    keys = Keys(home)
    folder_of_bundle = learned_bundle(home.bundles_path, bank_rows=2048, signer=keys.signer())
    bundle = Bundle.open(folder_of_bundle, trusted=keys.trusted())
    recipe = Recipe(product="brick", thresholds=bundle.manifest.calibration.thresholds)

    def register(session: Session) -> None:
        add_model(session, model_id=bundle.id, product="brick", kind="patchcore", by="benchmark")
        row = add_recipe(session, recipe=recipe, model_id=bundle.id, by="benchmark", reason="")
        activate(session, recipe_id=row.key, by="benchmark", reason="")

    with contextlib.closing(Database.open(home)) as database:
        database.write(register).result()
    frames = folder / FRAME_FOLDER
    frames.mkdir()
    for number in range(FRAMES):
        cv2.imwrite(str(frames / f"{number:04}.bmp"), draw_part(LINE, number).image)
    camera = FolderCamera(kind="folder", camera_id="top", folder=frames)
    trigger = ContinuousTrigger(kind="continuous")
    return home, StationConfig(station_id="bench", product="brick", trigger=trigger, cameras=(camera,))


def _bare(home: Home) -> float:
    """Read and judge every frame, and nothing else; return the seconds."""
    from partgate_cameras import list_images, read_image

    (bundle,) = [Bundle.open(path.parent, trusted=None) for path in home.bundles_path.glob("*/manifest.json")]
    with contextlib.closing(open_runtime(bundle)) as runtime:
        paths = list_images(home.path.parent / FRAME_FOLDER)
        runtime.judge(read_image(paths[0]))
        started_s = time.perf_counter()
        for path in paths:
            runtime.judge(read_image(path))
        return time.perf_counter() - started_s


def _station(home: Home, config: StationConfig) -> float:
    """Run the station over the same frames; return the seconds from first trigger to last signal."""
    moments: list[float] = []

    def note(outcome: object) -> None:
        del outcome
        moments.append(time.perf_counter())

    result = run_station(config, home, stop=threading.Event(), on_outcome=note)
    if not result.balance.balanced:
        raise RuntimeError(f"the ledger does not balance: {result.balance}")
    # The first part is left out on both ends: what is timed are the parts after it.
    return (moments[-1] - moments[0]) * FRAMES / (FRAMES - 1)
