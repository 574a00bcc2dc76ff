"""Learning and scoring folders of stills, and every way the input can be wrong."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sqlmodel import select

from commands import Done, in_process, last_json, opened, partgate
from partgate.records import Database, Home, Part
from partgate_cameras import draw_part
from partgate_station import Verdict, VirtualCamera

pytestmark = pytest.mark.timeout(300)

LINE = VirtualCamera(kind="virtual", camera_id="top", texture="gravel", seed=3, size_px=192, defect_rate=0)


def write_good(folder: Path, count: int) -> Path:
    folder.mkdir(parents=True)
    for number in range(count):
        Image.fromarray(draw_part(LINE, number).image).save(folder / f"good_{number}.png")
    return folder


@pytest.fixture(scope="session")
def gravel_home(demo_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home that knows the product `gravel` from 12 images, learned with the demo's graph."""
    folder = tmp_path_factory.mktemp("gravel")
    shutil.copytree(demo_home / "graphs", folder / "home" / "graphs")
    learned = last_json(
        partgate("learn", "gravel", "--good", write_good(folder / "good", 12), "--json", home=folder / "home")
    )
    assert learned["active"] is True
    assert learned["good_images"] == 12
    assert any("12" in warning for warning in learned["calibration"]["warnings"])
    return folder / "home"


def test_a_scored_folder_is_one_json_line_per_image(gravel_home: Path, tmp_path: Path) -> None:
    images = write_good(tmp_path / "images", 3)
    holed = draw_part(LINE, 50).image.copy()
    holed[60:120, 60:120] = 0
    Image.fromarray(holed).save(images / "bad.png")
    target, maps = tmp_path / "scores.jsonl", tmp_path / "maps"
    done = partgate("score", "gravel", images, "--json", target, "--maps", maps, home=gravel_home)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in target.read_text().splitlines()]
    assert [set(line) for line in lines] == [{"file", "score", "verdict", "milliseconds"}] * 4
    by_name = {Path(line["file"]).name: line for line in lines}
    assert by_name["bad.png"]["verdict"] == "REJECT"
    assert by_name["bad.png"]["score"] == max(line["score"] for line in lines)
    assert all(line["milliseconds"] > 0 for line in lines)
    assert len(list((maps / "images").iterdir())) == 4
    with Image.open(maps / "images" / "bad.png") as shown:
        assert shown.size == (192, 192)
        coloured = np.asarray(shown.convert("RGB")).astype(int)
    inside, outside = coloured[80:100, 80:100], coloured[:20, -20:]
    assert np.ptp(inside, axis=2).mean() > np.ptp(outside, axis=2).mean() + 20


def test_a_bundle_scores_without_a_home(gravel_home: Path, tmp_path: Path) -> None:
    images = write_good(tmp_path / "images", 2)
    (bundle,) = (gravel_home / "bundles").iterdir()
    by_product = partgate("score", "gravel", images, "--json", "-", home=gravel_home)
    refused = partgate("score", bundle, images, "--json", "-", home=tmp_path / "none")
    assert refused.returncode == 65
    assert "--unverified" in refused.stderr
    by_bundle = partgate("score", bundle, images, "--unverified", "--json", "-", home=tmp_path / "none")

    def scores(text: str) -> list[float]:
        return [json.loads(line)["score"] for line in text.splitlines()]

    assert scores(by_product.stdout) == scores(by_bundle.stdout)
    assert len(scores(by_bundle.stdout)) == 2
    assert not (tmp_path / "none").exists()


def test_a_known_product_stays_active_until_it_is_replaced(gravel_home: Path, tmp_path: Path) -> None:
    again = last_json(
        partgate("learn", "gravel", "--good", write_good(tmp_path / "more", 4), "--json", home=gravel_home)
    )
    assert again["active"] is False
    assert again["recipe_version"] > 1


def test_more_good_images_of_a_folder_join_a_learned_product(
    gravel_home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*arguments: str | Path, home: Path) -> Done:
        return in_process(*arguments, home=home, capsys=capsys)

    home = Path(shutil.copytree(gravel_home, tmp_path / "home"))
    first = json.loads(run("models", "list", "gravel", "--json", home=home).stdout)
    active = next(model["model"] for model in first if model["active"])
    lot = write_good(tmp_path / "lot", 12)  # the very images it was learned from
    nothing = run("retrain", "gravel", "--good", lot, home=home)
    assert nothing.returncode == 65
    assert "of the images given 12 are known already or given twice" in nothing.stderr
    for number in range(20, 24):
        Image.fromarray(draw_part(LINE, number).image).save(lot / f"good_{number - 20}.png")
    (lot / "good_11.png").write_bytes(b"no picture")
    refused = run("retrain", "gravel", "--good", lot, home=home)
    assert refused.returncode == 65
    assert "good_11.png" in refused.stderr
    report = last_json(run("retrain", "gravel", "--good", lot, "--skip-bad", "--json", home=home))
    assert report["given"] == {"learned": 4, "known": 7, "forgotten": [], "left_out": []}
    assert (report["added_parts"], report["good_images"]) == ([], 16)
    assert Path(report["page"]).is_file()
    shown = last_json(run("models", "show", report["model"][:12], home=home))
    assert shown["parent"] == active
    names = [good["origin"] for good in shown["manifest"]["good"]]
    assert len(names) == len(set(names)) == 16
    assert run("models", "activate", report["model"][:12], home=home).returncode == 0
    alone = run("retrain", "gravel", "--skip-bad", home=home)
    assert alone.returncode == 2
    assert "give --good DIR as well" in " ".join(alone.stderr.replace("│", "").split())


def test_a_folder_within_the_good_ones_is_not_learned_as_good(
    gravel_home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*arguments: str | Path, home: Path) -> Done:
        return in_process(*arguments, home=home, capsys=capsys)

    images = write_good(tmp_path / "images", 3)
    (images / "defective").mkdir()
    holed = draw_part(LINE, 50).image.copy()
    holed[60:120, 60:120] = 0
    Image.fromarray(holed).save(images / "defective" / "hole.png")
    defects = ("--defects", images / "defective")
    refused = run("learn", "other", "--good", images, *defects, home=gravel_home)
    assert refused.returncode == 65
    assert "1 image is given as good and as defective: images/defective/hole.png" in refused.stderr
    home = Path(shutil.copytree(gravel_home, tmp_path / "home"))
    good = write_good(tmp_path / "good", 3)
    assert run("learn", "other", "--good", good, *defects, home=home).returncode == 0
    more = write_good(tmp_path / "more", 5)
    made = last_json(run("retrain", "other", "--good", more, "--json", home=home))
    assert made["given"]["learned"] == 2
    known = made["known_defects"]
    assert (known["images"], known["flagged_before"], known["flagged_after"]) == (1, 1, 1)
    assert known["scores"][0]["image"] == "defective/hole.png"
    lot = run("retrain", "other", "--good", images / "defective", home=home)
    assert lot.returncode == 65
    assert "1 image is given as good and known to be defective" in lot.stderr


def test_images_of_another_size_do_not_join(gravel_home: Path, tmp_path: Path) -> None:
    lot = write_good(tmp_path / "lot", 2)
    Image.fromarray(draw_part(LINE, 30).image[:96]).save(lot / "half.png")
    refused = partgate("retrain", "gravel", "--good", lot, home=gravel_home)
    assert refused.returncode == 65
    assert "1 of 3 images cannot be used" in refused.stderr
    assert "half.png: the frame is 192×96, the product was learned from 192×192" in refused.stderr


def test_an_image_that_strays_in_is_named_and_a_mixture_told(
    gravel_home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*arguments: str | Path, home: Path) -> Done:
        return in_process(*arguments, home=home, capsys=capsys)

    home = Path(shutil.copytree(gravel_home, tmp_path / "home"))
    images = write_good(tmp_path / "images", 10)
    Image.fromarray(draw_part(LINE, 30).image[:96]).save(images / "half.png")
    refused = run("learn", "other", "--good", images, home=home)
    assert refused.returncode == 65
    assert "1 of 11 images cannot be used" in refused.stderr
    assert "half.png: the image is 192×96, 10 of 11 are 192×192" in refused.stderr
    learned = last_json(run("learn", "other", "--good", images, "--skip-bad", "--json", home=home))
    assert (learned["good_images"], learned["image_warnings"]) == (10, [])
    for number in range(4):
        Image.fromarray(draw_part(LINE, 40 + number).image[:96]).save(images / f"half_{number}.png")
    mixed = last_json(run("learn", "mixed", "--good", images, "--keep-outliers", "--json", home=home))
    assert mixed["good_images"] == 15
    assert "the good images are of several sizes" in mixed["image_warnings"][0]
    assert "are of several sizes: no frame will be held" in Path(mixed["page"]).read_text(encoding="utf-8")


def truncated(folder: Path) -> Path:
    whole = next(folder.glob("good_0.png")).read_bytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    return folder


@pytest.mark.parametrize("command", ["learn", "score"])
def test_a_damaged_image_is_named_and_nothing_is_written(
    command: str, gravel_home: Path, tmp_path: Path
) -> None:
    images = truncated(write_good(tmp_path / "images", 3))
    target = tmp_path / "scores.jsonl"
    if command == "learn":
        done = partgate("learn", "other", "--good", images, home=gravel_home)
    else:
        done = partgate("score", "gravel", images, "--json", target, home=gravel_home)
    assert done.returncode == 65
    assert "cut.png: truncated" in done.stderr
    assert "--skip-bad" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == [images]
    assert partgate("score", "other", images, home=gravel_home).returncode == 66


def test_a_station_over_a_folder_ends_with_it_and_names_what_it_could_not_read(
    gravel_home: Path, tmp_path: Path
) -> None:
    truncated(write_good(tmp_path / "images", 3))
    config = tmp_path / "station.toml"
    config.write_text(
        'station_id = "shelf"\nproduct = "gravel"\n'
        '[[cameras]]\nkind = "folder"\ncamera_id = "top"\nfolder = "images"\n'
    )
    home = Path(shutil.copytree(gravel_home, tmp_path / "home"))
    result = last_json(partgate("run", config, "--json", home=home))
    assert (result["parts"], result["undecided"], result["balanced"]) == (4, 1, True)
    with opened(home) as database, database.read() as session:
        (undecided,) = session.exec(select(Part).where(Part.verdict == Verdict.UNDECIDED)).all()
        assert (undecided.reason or "").startswith("DAMAGED_IMAGE: ")
        assert "cut.png: truncated" in (undecided.reason or "")
    again = last_json(partgate("run", config, "--json", home=home))
    assert (again["parts"], again["triggers"]) == (4, 8)


def test_a_damaged_image_can_be_left_out(gravel_home: Path, tmp_path: Path) -> None:
    images = truncated(write_good(tmp_path / "images", 3))
    done = partgate("score", "gravel", images, "--json", "-", "--skip-bad", home=gravel_home)
    assert done.returncode == 0
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    (bad,) = [line for line in lines if "error" in line]
    assert bad["verdict"] == "UNDECIDED"
    assert bad["score"] is None
    learned = last_json(partgate("learn", "rest", "--good", images, "--skip-bad", "--json", home=gravel_home))
    assert learned["good_images"] == 3


def test_one_image_is_learned_with_a_loud_warning(gravel_home: Path, tmp_path: Path) -> None:
    done = partgate("learn", "single", "--good", write_good(tmp_path / "one", 1), home=gravel_home)
    assert done.returncode == 0, done.stderr
    assert "Warning" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["learn", "x", "--good", "{empty}"], 65, "no images (PNG, JPEG, TIFF, BMP) in it"),
        (["learn", "x", "--good", "{empty}/none"], 66, "no such file or folder"),
        (["learn", "x"], 2, "--good DIR or --from-station STATION"),
        (["learn", "x", "--from-station", "nobody"], 65, "station 'nobody' has collected no images"),
        (["learn", "Bad Name", "--good", "{good}"], 78, "Bad Name"),
        (["learn", "x", "--good", "{good}", "--region", "5,5 500,5 5,500"], 78, "outside 192×192"),
        (["learn", "x", "--good", "{good}", "--region", "nonsense"], 78, "is not a list of x,y pairs"),
        (["learn", "x", "--good", "{good}", "--region", "0,0 9,9 9,0 0,6"], 78, "crosses itself"),
        (["learn", "x", "--good", "{good}", "--backbone", "resnet18"], 66, "put resnet18.safetensors"),
        (
            ["learn", "x", "--good", "{good}", "--recipe", "{empty}/../top.toml"],
            78,
            "of 12 of the 12 images it is not known which camera took them",
        ),
        (["learn", "x", "--good", "{good}", "--align-turn", "30"], 2, "--align-turn without --align"),
        (
            ["learn", "x", "--good", "{good}", "--align-shift", "0.2", "--align-scale", "0.2"],
            2,
            "--align-shift, --align-scale without --align",
        ),
        (["score", "nothing", "{good}"], 66, "neither a product"),
        (["score", "gravel", "{empty}"], 65, "no images (PNG, JPEG, TIFF, BMP) in it"),
        (["score", "{empty}", "{good}"], 66, "not a bundle"),
        (["run", "{empty}/no.toml"], 66, "no such file"),
        (["score", "", "{good}"], 2, "the name of the product or bundle is empty"),
        (["score", "a" * 300, "{good}"], 66, "neither a product"),
        (["score", "gravel", "{good}", "--unverified"], 2, "--unverified is for a bundle's folder"),
        (["models", "verify", ""], 2, "the name of the product or bundle is empty"),
        (["models", "verify", "a" * 300], 66, "no model has an id that begins with 'aaa"),
        (["models", "verify", "{empty}/" + "a" * 300], 66, "cannot be read (File name too long)"),
        (["models", "verify", "gravel", "--unverified"], 2, "--unverified is for a bundle's folder"),
        (["models", "verify", "gravel", "--weights", "{empty}"], 2, "give --torch as well"),
        (["models", "activate", "zzzz"], 66, "no model has an id that begins with 'zzzz'"),
        (["retrain", "nothing"], 65, "'nothing' has no active model"),
    ],
)
def test_a_mistake_gets_a_sentence_and_an_exit_code(
    arguments: list[str],
    code: int,
    says: str,
    gravel_home: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "empty").mkdir()
    places = {"empty": str(tmp_path / "empty"), "good": str(gravel_home.parent / "good")}
    (tmp_path / "top.toml").write_text(
        '[[regions]]\ncamera_id = "top"\npolygon = [[0, 0], [90, 0], [90, 90]]\n'
    )
    filled = [argument.format(**places) for argument in arguments]
    done = in_process(*filled, home=gravel_home, capsys=capsys)
    assert done.returncode == code, done.stderr
    assert says in " ".join(done.stderr.replace("│", "").split())  # a usage error is in a box
    assert "Traceback" not in done.stderr
    known = json.loads(in_process("models", "list", "x", "--json", home=gravel_home, capsys=capsys).stdout)
    assert known == []


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_what_is_called_like_a_product_does_not_hide_it(
    kind: str,
    gravel_home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    images = write_good(tmp_path / ("gravel" if kind == "folder" else "images"), 1)
    if kind == "file":
        (tmp_path / "gravel").write_text("notes")
    monkeypatch.chdir(tmp_path)
    done = partgate("score", "gravel", images.name, "--json", "-", home=gravel_home)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1
    assert partgate("models", "verify", "gravel", home=gravel_home).returncode == 0
    other = in_process("score", "./gravel", images, home=gravel_home, capsys=capsys)
    assert str(tmp_path / "gravel") in other.stderr  # a path is always a folder
    (tmp_path / "empty").mkdir()
    said = in_process("models", "verify", "empty", home=gravel_home, capsys=capsys)
    assert said.returncode == 66
    assert f"the folder {tmp_path / 'empty'} is no bundle: it has no manifest.json" in said.stderr
    shutil.copytree(next((gravel_home / "bundles").iterdir()), tmp_path / "brought")
    assert partgate("models", "verify", "brought", home=gravel_home).returncode == 0
    shutil.move(tmp_path / "brought", tmp_path / "gravel-2")
    for folder in ("gravel-2", "./gravel-2", str(tmp_path / "gravel-2")):
        done = partgate("models", "verify", folder, "--unverified", home=tmp_path / "none")
        assert done.returncode == 0, done.stderr


def test_a_product_without_models_is_told_from_a_home_without(
    gravel_home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = in_process("models", "list", "gravle", home=gravel_home, capsys=capsys).stdout
    assert "No model of 'gravle'. Products with models: gravel" in said
    Database.open(Home.open(tmp_path / "fresh")).close()
    said = in_process("models", "list", "gravle", home=tmp_path / "fresh", capsys=capsys).stdout
    assert "No models yet" in said


@pytest.mark.parametrize("name", ["model.pt", "model.ckpt", "model.pkl", "model.joblib"])
def test_a_pickle_is_refused_unopened(name: str, gravel_home: Path, tmp_path: Path) -> None:
    import pickle

    marker = tmp_path / "ran"

    class Bomb:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (marker,)

    (tmp_path / name).write_bytes(pickle.dumps(Bomb()))
    done = partgate("score", tmp_path / name, gravel_home.parent / "good", home=gravel_home)
    assert done.returncode == 65
    assert "pickle" in done.stderr
    assert not marker.exists()
