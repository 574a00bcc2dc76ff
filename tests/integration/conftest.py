"""One home with a learned product and inspected parts, made by the commands a user would type."""

import shutil
from pathlib import Path

import pytest

from commands import DEMO_PARTS, partgate


@pytest.fixture(scope="session")
def demo_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which the demo has run once; tests that change it use `copied_home`."""
    home = tmp_path_factory.mktemp("demo") / "home"
    done = partgate("demo", "--no-serve", "--json", "--parts", str(DEMO_PARTS), home=home)
    assert done.returncode == 0, done.stderr
    (home.parent / "demo.json").write_text(done.stdout)
    (home.parent / "demo.log").write_text(done.stderr)
    return home


@pytest.fixture
def copied_home(demo_home: Path, tmp_path: Path) -> Path:
    """A copy of the demo's home that a test may change."""
    return Path(shutil.copytree(demo_home, tmp_path / "copied-home"))
