"""An option that takes one value is not given twice: the first would be dropped without a word."""

from pathlib import Path

import pytest

from commands import in_process


@pytest.mark.parametrize(
    "command",
    [
        ["learn", "tile", "--good", "one", "--good", "two"],
        ["models", "list", "--home=one"],  # `in_process` gives another
        ["ledger", "--station", "a", "--station", "a"],
    ],
)
def test_an_option_given_twice_is_refused_by_name(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    done = in_process(*command, home=tmp_path / "home", capsys=capsys)
    assert done.returncode == 2
    option = next(word for word in command if word.startswith("--")).partition("=")[0]
    assert f"Invalid value for {option}: given 2 times; it takes one value" in done.stderr
    assert not list(tmp_path.iterdir()), "nothing was begun"


def test_an_option_that_takes_several_may_be_repeated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    regions = ["--region", "0,0 9,0 9,9", "--region", "20,20 30,20 30,30"]
    done = in_process("learn", "tile", "--good", tmp_path, *regions, home=tmp_path / "home", capsys=capsys)
    assert "no images" in done.stderr, "it got as far as those"
