"""docs/reference/faults.md names every row that must be held, and every test that it names is there."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "docs/reference/faults.md"
ROWS = [
    *(f"F{number:02}" for number in (*range(1, 25), 27, 43, 44, 45, 49, 50, 54)),
    *(f"B{number:02}" for number in (*range(1, 12), 21, 22, 23, 46, 48, 51, 52)),
]


def rows() -> dict[str, str]:
    """Return what the table says of each row; `B01-B04` stands for four."""
    found: dict[str, str] = {}
    for row, first, last, says in re.findall(
        r"^\| ([FB])(\d\d)(?:-[FB](\d\d))? \|[^|]*\|([^|]*)\|$", TABLE.read_text(), re.MULTILINE
    ):
        found |= {f"{row}{number:02}": says for number in range(int(first), int(last or first) + 1)}
    return found


def names_in(path: Path) -> set[str]:
    return {node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("row", ROWS)
def test_every_row_is_held_by_a_test_or_says_why_not(row: str) -> None:
    says = rows()[row]
    named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", says)
    assert named or says.strip().startswith("none: ")
    for path, test in named:
        assert test in names_in(ROOT / path), f"{row}: {path} has no {test}"
