"""Two people at the same list."""

import re
import uuid
from typing import Any

from sqlmodel import col, select

from partgate.records import Finding, Review
from partgate.review._desks import HELD_S, Desks


def _start(page: str) -> str:
    found = re.search(r'id="start" href="/parts/([0-9a-f-]+)', page)
    assert found is not None
    return found[1]


def _said(line: Any) -> list[tuple[Finding, str]]:
    query = select(Review).order_by(col(Review.decided_at))
    rows = line.read(lambda session: session.exec(query).all())
    return [(row.finding, row.note) for row in rows]


def test_two_reviewers_are_led_to_different_parts(reviewer: Any, colleague: Any, line: Any) -> None:
    oldest, third, second, newest = (line.part() for _ in range(4))
    reviewer.get(f"/parts/{newest}")
    assert _start(colleague.get("/").text) == str(second)
    assert _start(reviewer.get("/").text) == str(newest), "one's own part is one's own"
    colleague.get(f"/parts/{second}")
    assert reviewer.decide(newest, "GOOD").headers["location"].startswith(f"/parts/{third}")
    # Mara is on her way to the third, whose page she has not asked for yet.
    assert colleague.decide(second, "GOOD").headers["location"].startswith(f"/parts/{oldest}")


def test_a_part_that_another_has_open_comes_last_and_is_hidden_from_nobody(
    reviewer: Any, colleague: Any, line: Any
) -> None:
    older, newer = line.part(), line.part()
    reviewer.get(f"/parts/{older}")
    assert str(older) in colleague.get("/").text
    assert colleague.get(f"/parts/{newer}").text.count(f'rel="next" href="/parts/{older}"') == 1
    assert colleague.decide(newer, "GOOD").headers["location"].startswith(f"/parts/{older}")
    assert _start(colleague.get("/").text) == str(older)
    assert f'data-newest="{older}"' in colleague.get("/").text


def test_newer_parts_are_not_announced_because_another_has_one_open(
    reviewer: Any, colleague: Any, line: Any
) -> None:
    line.part()
    newest = line.part()
    reviewer.get(f"/parts/{newest}")
    assert f'data-newest="{newest}"' in colleague.get("/").text
    assert colleague.get("/waiting").json()["newest"] == str(newest)


def test_who_finds_the_same_goes_on(reviewer: Any, colleague: Any, line: Any) -> None:
    older, part = line.part(), line.part()
    hidden = colleague.hidden(f"/parts/{part}")
    reviewer.decide(part, "DEFECTIVE")
    answer = colleague.post(
        f"/parts/{part}/review", hidden | {"finding": "DEFECTIVE", "note": "a crack, top left"}
    )
    assert answer.status_code == 303
    assert answer.headers["location"] == f"/parts/{older}?done={part}"
    assert _said(line) == [(Finding.DEFECTIVE, ""), (Finding.DEFECTIVE, "a crack, top left")]


class _Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def test_a_desk_holds_the_last_part_for_a_minute() -> None:
    clock = _Clock()
    desks, first, second = Desks(clock=clock), uuid.uuid4(), uuid.uuid4()
    desks.note("mara", first)
    desks.note("mara", second)
    assert desks.of_others("ines") == {second}
    assert desks.of_others("mara") == set()
    clock.now_s += HELD_S
    assert desks.of_others("ines") == set()


def test_desks_are_bounded() -> None:
    desks = Desks(logins=3)
    parts = [uuid.uuid4() for _ in range(10)]
    for number, part in enumerate(parts):
        desks.note(f"login {number}", part)
    assert desks.of_others("another") == set(parts[-3:])
