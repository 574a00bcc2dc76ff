"""`partgate models list` tells models apart."""

from partgate.cli.models import _cells

ROW = {
    "model": "a1" * 32, "product": "tile", "kind": "patchcore", "active": True, "parent": None,
    "created_at": "2026-11-30T07:09:22.163733+00:00", "created_by": "cli:vera", "good_images": 24,
    "thresholds": {"review": 25.75321, "reject": 26.6},
    "way": {
        "precision": "int8", "layers": ["blocks.2", "blocks.4"], "contrast": "local", "tile_px": 256,
        "aligned": True,
    },
}  # fmt: skip


def test_a_row_says_how_a_model_was_learned_and_where_its_thresholds_lie() -> None:
    assert _cells(ROW) == [
        "*", "tile", "a1a1a1a1a1a1", "patchcore",
        "int8, blocks.2+blocks.4, tiles of 256 px, local contrast, aligned", 24, "25.75", "26.6",
        "2026-11-30T07:09:22", "cli:vera", "",
    ]  # fmt: skip


def test_what_a_model_of_before_did_not_note_is_left_empty() -> None:
    told = _cells(ROW | {"way": None, "good_images": None, "thresholds": None, "active": False})
    assert told[:8] == ["", "tile", "a1a1a1a1a1a1", "patchcore", "", "", "", ""]
