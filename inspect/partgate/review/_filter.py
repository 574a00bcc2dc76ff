"""Which parts a person wants to see, as it stands in the address of a page."""

import uuid
from typing import Literal
from urllib.parse import urlencode

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import ColumnElement, and_, exists, true
from sqlmodel import col

from partgate.records import Part, Review, part_named
from partgate_station import Verdict

FLAGGED = (Verdict.REVIEW, Verdict.REJECT, Verdict.UNDECIDED)

State = Literal["open", "done", "all"]


class Filter(BaseModel):
    """A choice of parts. Without anything chosen: flagged parts that nobody has reviewed yet."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    state: State = "open"
    verdict: Literal["flagged", "REVIEW", "REJECT", "UNDECIDED", "ACCEPT", "all"] = "flagged"
    product: str = Field(default="", max_length=64)
    find: str = Field(default="", max_length=100)
    """A trigger's number, a serial number or a part's id; where given, the other choices do not count."""

    def query(self, **more: object) -> str:
        """Return the choice as the end of an address, `?` included; empty for the usual choice."""
        values = {name: value for name, value in self._chosen().items() if value}
        values |= {name: str(value) for name, value in more.items() if value is not None}
        return f"?{urlencode(values)}" if values else ""

    def open_query(self) -> str:
        """Return the same choice among unreviewed parts, as the end of an address."""
        return self.model_copy(update={"state": "open"}).query()

    def _chosen(self) -> dict[str, str]:
        usual = Filter()
        return {
            name: value
            for name in Filter.model_fields
            if (value := getattr(self, name)) != getattr(usual, name)
        }

    def condition(self) -> ColumnElement[bool]:
        """Return the choice as a condition on `Part`."""
        return and_(self._scope(), true() if self.find.strip() else _in_state(self.state))

    def open_condition(self) -> ColumnElement[bool]:
        """Return the same choice among the parts that nobody has reviewed yet."""
        return and_(self._scope(), ~has_review())

    def _scope(self) -> ColumnElement[bool]:
        if self.find.strip():
            return part_named(self.find)
        return and_(_with_verdict(self.verdict), _of_product(self.product))


class QueueQuery(Filter):
    """What the address of the list may say."""

    before: uuid.UUID | None = None
    """Show what is older than this part."""
    after: uuid.UUID | None = None
    """Show what is newer than this part."""
    done: uuid.UUID | None = None
    """The part that was decided a moment ago."""


class PartQuery(Filter):
    """What the address of a part's page may say."""

    frame: int | None = Field(default=None, ge=0, le=10_000)
    """Which of the part's frames to show; None: the one that decided."""
    done: uuid.UUID | None = None
    """The part that was decided a moment ago."""


def has_review() -> ColumnElement[bool]:
    """Return the condition that somebody has reviewed the part."""
    return exists().where(col(Review.part_id) == col(Part.id))


def _with_verdict(verdict: str) -> ColumnElement[bool]:
    match verdict:
        case "all":
            return true()
        case "flagged":
            return col(Part.verdict).in_(FLAGGED)
        case _:
            return col(Part.verdict) == Verdict(verdict)


def _in_state(state: State) -> ColumnElement[bool]:
    match state:
        case "open":
            return ~has_review()
        case "done":
            return has_review()
        case "all":
            return true()


def _of_product(product: str) -> ColumnElement[bool]:
    return col(Part.product) == product if product else true()
