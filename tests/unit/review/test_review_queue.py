import re
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy
from sqlmodel import col, select

from partgate.records import Audit, Finding, Review, latest_reviews, utc_now, verify_audit
from partgate.review._queue import PAGE_SIZE
from partgate.review._rows import rows
from partgate_station import Verdict


def _shown(page: str) -> list[uuid.UUID]:
    return [uuid.UUID(found) for found in re.findall(r'class="part-card" href="/parts/([0-9a-f-]+)', page)]


def _reviews(line: Any) -> list[Review]:
    return list(
        line.read(lambda session: session.exec(select(Review).order_by(col(Review.decided_at))).all())
    )


def test_the_list_begins_with_flagged_parts_nobody_reviewed_newest_first(reviewer: Any, line: Any) -> None:
    flagged = [line.part(verdict) for verdict in (Verdict.REVIEW, Verdict.REJECT, Verdict.UNDECIDED)]
    line.part(Verdict.ACCEPT)
    line.part(None)
    reviewer.decide(flagged[0], "GOOD")
    page = reviewer.get("/").text
    assert _shown(page) == [flagged[2], flagged[1]]
    assert "2</span> to review" in page
    assert "DEADLINE: no frame" in page


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        pytest.param("?state=all", [4, 2, 1], id="all flagged"),
        pytest.param("?state=done", [1], id="reviewed"),
        pytest.param("?verdict=REJECT", [4], id="one verdict"),
        pytest.param("?verdict=ACCEPT", [3], id="accepted"),
        pytest.param("?verdict=all&state=all", [5, 4, 3, 2, 1], id="everything, open parts too"),
        pytest.param("?product=gravel&state=all", [4], id="product"),
        pytest.param("?find=SN-3", [3], id="serial number"),
        pytest.param("?find=1", [1], id="trigger, reviewed already"),
        pytest.param("?find=99999999999999999999999", [], id="no trigger has that number"),
        pytest.param("?find=01a22b38-6a1e-7c44-9f0b-2b1f6c1d8a55", [], id="no part has that id"),
        pytest.param("?find='%20OR%201=1%20--", [], id="SQL"),
    ],
)
def test_choices(query: str, numbers: list[int], reviewer: Any, line: Any) -> None:
    verdicts = [Verdict.REVIEW, Verdict.REVIEW, Verdict.ACCEPT, Verdict.REJECT, None]
    for number, verdict in enumerate(verdicts, start=1):
        line.part(verdict, serial_number=f"SN-{number}", product="gravel" if number == 4 else "brick")
    reviewer.decide(line.parts[0], "DEFECTIVE")
    assert _shown(reviewer.get(f"/{query}").text) == [line.parts[number - 1] for number in numbers]


@pytest.mark.parametrize("written", ["{}", "part:{}", " part:{} ", "serial:{}"])
def test_a_part_is_found_by_its_id(written: str, reviewer: Any, line: Any) -> None:
    part, other = line.part(), line.part(Verdict.ACCEPT)
    line.part(serial_number=f"serial:{other}")
    text = reviewer.get("/", params={"find": written.format(other)}).text
    assert _shown(text) == ([line.parts[2]] if written.startswith("serial") else [other])
    assert part not in _shown(text)


def test_what_nothing_is_called_is_said(reviewer: Any, line: Any) -> None:
    line.part()
    text = reviewer.get("/?find=part:none").text
    assert "No part has the trigger, serial number or id <b><bdi>part:none</bdi></b>" in text


def test_the_page_of_a_part_shows_its_id(reviewer: Any, line: Any) -> None:
    part = line.part()
    assert f">{part}</code>" in reviewer.get(f"/parts/{part}").text


@pytest.mark.parametrize(
    "query",
    [
        "?state=none",
        "?verdict=MAYBE",
        "?verdict=accept",
        "?before=1",
        "?before=-1",
        "?after=9223372036854775808",
        "?done=x",
        "?find=" + "a" * 101,
        "?product=" + "a" * 65,
    ],
    ids=lambda query: query[:24],
)
def test_values_that_are_not_allowed_are_refused(query: str, reviewer: Any) -> None:
    answer = reviewer.get(f"/{query}")
    assert answer.status_code == 422
    assert "not one of those allowed" in answer.text


def test_pages_hang_on_parts_so_that_new_ones_move_nothing(reviewer: Any, line: Any) -> None:
    parts = [line.part(frames=0) for _ in range(2 * PAGE_SIZE + 3)][::-1]
    first = reviewer.get("/").text
    assert _shown(first) == parts[:PAGE_SIZE]
    older = re.search(r'rel="next" href="([^"]+)"', first)
    assert older is not None
    line.part(frames=0)
    second = reviewer.get(older[1].replace("&amp;", "&")).text
    assert _shown(second) == parts[PAGE_SIZE : 2 * PAGE_SIZE]
    third = reviewer.get(re.search(r'rel="next" href="([^"]+)"', second)[1]).text  # type: ignore[index]
    assert _shown(third) == parts[2 * PAGE_SIZE :]
    assert 'rel="next"' not in third
    back = reviewer.get(re.search(r'rel="prev" href="([^"]+)"', third)[1]).text  # type: ignore[index]
    assert _shown(back) == parts[PAGE_SIZE : 2 * PAGE_SIZE]


def test_parts_of_the_same_moment_are_each_shown_once(reviewer: Any, line: Any) -> None:
    moment = datetime(2026, 5, 4, 7, 0, tzinfo=UTC)
    parts = {line.part(frames=0, triggered_at=moment) for _ in range(PAGE_SIZE + 5)}
    first = reviewer.get("/").text
    older = re.search(r'rel="next" href="([^"]+)"', first)
    assert older is not None
    shown = _shown(first) + _shown(reviewer.get(older[1]).text)
    assert len(shown) == len(parts)
    assert set(shown) == parts


def test_the_header_shows_the_ledger(reviewer: Any, line: Any) -> None:
    for verdict in (Verdict.ACCEPT, Verdict.ACCEPT, Verdict.REJECT, Verdict.UNDECIDED):
        line.part(verdict, frames=0)
    page = reviewer.get("/").text
    assert [re.search(rf"<b>(\d+)</b> {word}", page)[1] for word in ("triggers", "accept", "reject")] == [  # type: ignore[index]
        "4",
        "2",
        "1",
    ]
    assert "balances" in page
    line.part(None)
    assert "in work" in reviewer.get("/").text
    line.part(Verdict.ACCEPT, trigger_id=99, frames=0)
    assert "does not balance" in reviewer.get("/").text


def test_waiting_tells_an_open_list_what_is_new(reviewer: Any, line: Any) -> None:
    assert reviewer.get("/waiting").json() == {"left": "0", "newest": None}
    line.part(Verdict.ACCEPT)
    part = line.part(Verdict.REJECT)
    assert reviewer.get("/waiting").json() == {"left": "1", "newest": str(part)}
    assert reviewer.get("/waiting?verdict=REVIEW").json() == {"left": "0", "newest": None}


def test_a_decision_is_one_review_and_one_audit_row_and_leads_to_the_next_part(
    reviewer: Any, line: Any
) -> None:
    oldest, middle, newest = (line.part() for _ in range(3))
    before = line.read(lambda session: len(session.exec(select(Audit)).all()))
    answer = reviewer.decide(newest, "GOOD", note="only a hair\r\non the part")
    assert answer.status_code == 303
    assert answer.headers["location"] == f"/parts/{middle}?done={newest}"
    (review,) = _reviews(line)
    assert (review.part_id, review.finding, review.note) == (newest, Finding.GOOD, "only a hair\non the part")
    audits = line.read(lambda session: session.exec(select(Audit).order_by(col(Audit.seq))).all())[before:]
    assert [(row.who, row.what, row.subject) for row in audits] == [("Mara", "review.add", f"part:{newest}")]
    assert audits[0].after == {"finding": "GOOD", "review": str(review.id), "verdict": "REJECT"}
    assert line.read(verify_audit) is None
    assert "Trigger 3, back" in reviewer.get(answer.headers["location"]).text
    assert reviewer.decide(oldest, "DEFECTIVE").headers["location"] == f"/parts/{middle}?done={oldest}"
    assert reviewer.decide(middle, "DEFECTIVE").headers["location"] == f"/?done={middle}"
    assert "Nothing left to review" in reviewer.get("/").text


def test_a_decision_stays_within_the_choice(reviewer: Any, line: Any) -> None:
    gravel = line.part(product="gravel")
    line.part()
    newest = line.part(product="gravel")
    query = "?product=gravel"
    answer = reviewer.decide(newest, "GOOD", query=query)
    assert answer.headers["location"] == f"/parts/{gravel}?product=gravel&done={newest}"
    assert (
        reviewer.decide(gravel, "GOOD", query=query).headers["location"] == f"/?product=gravel&done={gravel}"
    )


def test_a_second_decision_is_added_and_names_what_was_before(reviewer: Any, line: Any) -> None:
    part = line.part()
    reviewer.decide(part, "GOOD")
    reviewer.decide(part, "DEFECTIVE", note="seen under the lamp")
    assert [review.finding for review in _reviews(line)] == [Finding.GOOD, Finding.DEFECTIVE]
    last = line.read(lambda session: session.exec(select(Audit).order_by(col(Audit.seq))).all())[-1]
    assert last.before["finding"] == "GOOD"
    page = reviewer.get(f"/parts/{part}").text
    assert page.index("Defective</span> <bdi>Mara") < page.index("Good</span> <bdi>Mara")


def test_the_last_decision_counts_after_the_clock_has_stepped_back(reviewer: Any, line: Any) -> None:
    part = line.part()
    ahead = utc_now() + timedelta(hours=1)
    line.write(
        lambda session: session.add(
            Review(part_id=part, finding=Finding.GOOD, reviewer_id=1, decided_at=ahead)
        )
    )
    reviewer.decide(part, "DEFECTIVE")
    assert [(review.finding, review.decided_at) for review in _reviews(line)] == [
        (Finding.GOOD, ahead),
        (Finding.DEFECTIVE, ahead + timedelta(microseconds=1)),
    ]
    page = reviewer.get(f"/parts/{part}").text
    assert page.index("Defective</span> <bdi>Mara") < page.index("Good</span> <bdi>Mara")
    latest = line.read(lambda session: rows(session, sqlalchemy.select(latest_reviews())))
    assert [tuple(row.values()) for row in latest] == [(part, _reviews(line)[-1].id)]


def test_a_button_pressed_twice_decides_once(reviewer: Any, line: Any) -> None:
    part = line.part()
    hidden = reviewer.hidden(f"/parts/{part}")
    answers = [reviewer.post(f"/parts/{part}/review", hidden | {"finding": "GOOD"}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [303, 303]
    assert len(_reviews(line)) == 1


def test_who_decides_on_an_old_page_is_told_what_happened_meanwhile(reviewer: Any, line: Any) -> None:
    part = line.part()
    hidden = reviewer.hidden(f"/parts/{part}")
    reviewer.decide(part, "DEFECTIVE")
    answer = reviewer.post(f"/parts/{part}/review", hidden | {"finding": "GOOD", "note": "my words"})
    assert answer.status_code == 409
    assert "decided while you looked at this part" in answer.text
    assert answer.text.index('role="alert"') < answer.text.index('class="buttons"'), "it stands above them"
    assert not re.search(r'data-key="[dg]"', answer.text), "only the mouse overrules"
    assert "Defective</span> <bdi>Mara" in answer.text
    assert "my words</textarea>" in answer.text, "what was typed is not lost"
    assert len(_reviews(line)) == 1


@pytest.mark.parametrize(
    ("data", "status"),
    [
        pytest.param({"finding": "MAYBE"}, 422, id="unknown finding"),
        pytest.param({}, 422, id="no finding"),
        pytest.param({"finding": "GOOD", "note": "x" * 2001}, 422, id="note too long"),
        pytest.param({"finding": "GOOD", "seen": "not an id"}, 422, id="damaged form"),
        pytest.param({"finding": "GOOD", "note": "x" * 70_000}, 413, id="body too large"),
    ],
)
def test_decisions_that_are_refused_leave_nothing(
    data: dict[str, str], status: int, reviewer: Any, line: Any
) -> None:
    part = line.part()
    hidden = reviewer.hidden(f"/parts/{part}")
    assert reviewer.post(f"/parts/{part}/review", hidden | data).status_code == status
    assert _reviews(line) == []


def test_a_part_in_work_cannot_be_decided(reviewer: Any, line: Any) -> None:
    part, other = line.part(None, frames=0), line.part()
    assert "still in work" in reviewer.get(f"/parts/{part}").text
    hidden = reviewer.hidden(f"/parts/{other}")
    assert reviewer.post(f"/parts/{part}/review", hidden | {"finding": "GOOD"}).status_code == 409
    unknown = uuid.uuid4()
    assert reviewer.post(f"/parts/{unknown}/review", hidden | {"finding": "GOOD"}).status_code == 404
    assert _reviews(line) == []


def test_texts_of_a_later_version_are_shown_and_break_nothing(reviewer: Any, line: Any) -> None:
    part = line.part()
    reviewer.decide(part, "GOOD")
    line.force(
        "UPDATE part SET verdict = 'REWORK'",
        "UPDATE frame SET image_state = 'ARCHIVED'",
        "UPDATE review SET finding = 'MAYBE'",
    )
    page = reviewer.get("/?verdict=all&state=all")
    assert page.status_code == 200
    assert "unknown (REWORK)" in page.text
    detail = reviewer.get(f"/parts/{part}")
    assert detail.status_code == 200
    assert "unknown (REWORK)" in detail.text
    assert "unknown (ARCHIVED)" in detail.text
    assert "unknown (MAYBE)" in detail.text


def test_times_are_the_servers_and_in_order(reviewer: Any, line: Any) -> None:
    part = line.part(triggered_at=datetime(2026, 5, 4, 7, 30, 1, 250_000, tzinfo=UTC))
    assert 'datetime="2026-05-04T07:30:01.250Z"' in reviewer.get(f"/parts/{part}").text
