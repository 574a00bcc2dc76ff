"""A home, its database and its images, fresh for every test."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from partgate.records import Database, Home, ImageStore


@pytest.fixture(scope="session")
def made_home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home whose database was made by the migrations, once, and is only copied from."""
    home = Home.open(tmp_path_factory.mktemp("made") / "home")
    Database.open(home).close()
    return home


@pytest.fixture
def new_home(tmp_path: Path) -> Home:
    """A home that never had a database."""
    return Home.open(tmp_path / "home")


@pytest.fixture
def home(made_home: Home, new_home: Home) -> Home:
    """A home with an empty database."""
    shutil.copy(made_home.database_path, new_home.database_path)
    shutil.copy(made_home.marker_path, new_home.marker_path)
    return new_home


@pytest.fixture
def database(home: Home) -> Iterator[Database]:
    with Database.open(home) as database:
        yield database


@pytest.fixture
def images(home: Home) -> ImageStore:
    return ImageStore(home)
