"""The tables. Rows are written through `Database.write` alone; see `_database.py`.

Keys of what a plant database will collect one day are UUIDv7: unique without asking, and in order
of time. Times are UTC. Deadlines never use them: those live on the monotonic clock.
"""

import uuid
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import uuid_utils.compat
from sqlalchemy import (
    JSON,
    CheckConstraint,
    Column,
    DateTime,
    Dialect,
    Index,
    MetaData,
    String,
    UniqueConstraint,
    text,
)
from sqlalchemy.types import TypeDecorator
from sqlmodel import Field, SQLModel

from partgate_station import Verdict

# Named from the first migration on: SQLite cannot alter a constraint that has no name.
metadata = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class UtcDateTime(TypeDecorator[datetime]):
    """A point in time, stored in UTC and given back with its zone; a naive one is refused."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse a naive time, drop the zone of any other after turning it to UTC."""
        del dialect
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value.isoformat()} has no time zone; use datetime.now(UTC)")
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give the zone back."""
        del dialect
        return None if value is None else value.replace(tzinfo=UTC)


def utc_now() -> datetime:
    """Return the time now, with its zone."""
    return datetime.now(UTC)


def new_id() -> uuid.UUID:
    """Return a UUIDv7 (RFC 9562): unique without asking anyone, and in order of time."""
    return uuid_utils.compat.uuid7()


class Finding(StrEnum):
    """What a QA reviewer found a part to be."""

    GOOD = "GOOD"
    DEFECTIVE = "DEFECTIVE"


class ImageState(StrEnum):
    """What became of a frame's pixels."""

    KEPT = "KEPT"
    NOT_KEPT = "NOT_KEPT"
    LOST = "LOST"


class _Text(TypeDecorator[StrEnum]):
    """A `StrEnum` stored as its text, so that a row can be read with any tool."""

    impl = String
    cache_ok = True

    def __init__(self, kind: type[StrEnum]) -> None:
        super().__init__()
        self.kind = kind

    def process_bind_param(self, value: StrEnum | None, dialect: Dialect) -> str | None:
        """Store the member's text."""
        del dialect
        return None if value is None else self.kind(value).value

    def process_result_value(self, value: str | None, dialect: Dialect) -> StrEnum | None:
        """Give the member back."""
        del dialect
        return None if value is None else self.kind(value)


class SignalState(StrEnum):
    """Whether who works the gate has said that a part's verdict arrived."""

    CONFIRMED = "CONFIRMED"
    UNCONFIRMED = "UNCONFIRMED"
    """Not in time, or never: the gate stayed shut, whatever the verdict."""


def _named_by_row(table: str, column: str) -> Index:
    """Return an index that finds the rows which name a file, to know whether it may be deleted."""
    return Index(f"ix_{table}_{column}", column, sqlite_where=text(f"{column} IS NOT NULL"))


class Base(SQLModel):
    """Common metadata for all tables."""

    metadata = metadata


class Station(Base, table=True):
    """A station that has run in this home."""

    __tablename__ = "station"

    id: str = Field(primary_key=True)
    name: str
    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class Model(Base, table=True):
    """A learned model: one verified bundle in the home's bundle folder."""

    __tablename__ = "model"

    id: str = Field(primary_key=True)
    """The bundle's content hash, 64 hex digits; also the name of its folder."""
    product: str = Field(index=True)
    kind: str
    parent_id: str | None = Field(default=None, foreign_key="model.id")
    """The model this one was made from, None for one learned from files."""
    report: dict[str, Any] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False))
    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    created_by: str


class SnapshotImage(Base, table=True):
    """One image a model was learned from or calibrated on; its pixels lie in the image store."""

    __tablename__ = "snapshot_image"
    __table_args__ = (
        CheckConstraint("finding IN ('GOOD', 'DEFECTIVE')", name="finding"),
        UniqueConstraint("model_id", "position"),
        Index("ix_snapshot_image_image_sha256", "image_sha256"),
    )

    id: int | None = Field(default=None, primary_key=True)
    model_id: str = Field(foreign_key="model.id", index=True)
    position: int
    """Its number in the order of learning; the memory bank's provenance counts the same way."""
    image_sha256: str
    origin: str
    """The file's name, or `part:<id>` where QA brought it."""
    part_id: uuid.UUID | None = Field(default=None, foreign_key="part.id")
    finding: Finding = Field(sa_column=Column(_Text(Finding), nullable=False))


class Recipe(Base, table=True):
    """One version of a product's recipe. Versions are added, never changed."""

    __tablename__ = "recipe"
    __table_args__ = (UniqueConstraint("product", "version"),)

    id: int | None = Field(default=None, primary_key=True)
    product: str = Field(index=True)
    version: int
    model_id: str = Field(foreign_key="model.id")
    content: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
    """The recipe as `partgate_station.Recipe` dumps it."""
    sha256: str
    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    created_by: str
    reason: str

    @property
    def key(self) -> int:
        """The row's id; only a row that has been written has one."""
        if self.id is None:
            raise ValueError(f"recipe {self.product} version {self.version} has not been written")
        return self.id


class Activation(Base, table=True):
    """A recipe became the active one of its product. The latest row of a product counts."""

    __tablename__ = "activation"

    id: int | None = Field(default=None, primary_key=True)
    product: str = Field(index=True)
    recipe_id: int = Field(foreign_key="recipe.id")
    at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    by: str
    reason: str


class Part(Base, table=True):
    """The ledger: one row for every trigger, open until it is closed by a verdict."""

    __tablename__ = "part"
    __table_args__ = (
        UniqueConstraint("station_id", "trigger_id"),
        CheckConstraint("verdict IN ('ACCEPT', 'REVIEW', 'REJECT', 'UNDECIDED')", name="verdict"),
        CheckConstraint("(verdict IS NULL) = (closed_at IS NULL)", name="closed_with_verdict"),
        CheckConstraint("verdict <> 'UNDECIDED' OR reason IS NOT NULL", name="undecided_says_why"),
        CheckConstraint("signal_state IN ('CONFIRMED', 'UNCONFIRMED')", name="signal_state"),
        Index("ix_part_verdict_triggered_at", "verdict", "triggered_at"),
        # Of few rows each: for these a start, a balance or a person's question would else read all parts.
        Index("ix_part_open", "station_id", "trigger_id", sqlite_where=text("verdict IS NULL")),
        Index("ix_part_unconfirmed", "station_id", sqlite_where=text("signal_state = 'UNCONFIRMED'")),
        Index("ix_part_serial_number", "serial_number", sqlite_where=text("serial_number IS NOT NULL")),
    )

    id: uuid.UUID = Field(default_factory=new_id, primary_key=True)
    station_id: str = Field(foreign_key="station.id")
    trigger_id: int
    triggered_at: datetime = Field(sa_type=UtcDateTime, index=True)
    serial_number: str | None = None
    product: str | None = Field(default=None, index=True)
    recipe_id: int | None = Field(default=None, foreign_key="recipe.id")
    model_id: str | None = Field(default=None, foreign_key="model.id")
    runtime: str | None = None
    verdict: Verdict | None = Field(default=None, sa_column=Column(_Text(Verdict), nullable=True))
    """None while the part is open."""
    reason: str | None = None
    """Why the part is UNDECIDED, as `CODE: sentence`; None otherwise."""
    score: float | None = None
    latency_ms: float | None = None
    """From the trigger to the reject signal, on the monotonic clock."""
    closed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    signal_state: SignalState | None = Field(
        default=None, sa_column=Column(_Text(SignalState), nullable=True)
    )
    """None where nobody confirms: a station without an output, or a part that was never signalled."""


class Frame(Base, table=True):
    """One image of a part, by one camera."""

    __tablename__ = "frame"
    __table_args__ = (
        CheckConstraint("image_state IN ('KEPT', 'NOT_KEPT', 'LOST')", name="image_state"),
        CheckConstraint("(image_state = 'KEPT') = (image_sha256 IS NOT NULL)", name="kept_has_hash"),
        _named_by_row("frame", "image_sha256"),
        _named_by_row("frame", "map_sha256"),
    )

    id: uuid.UUID = Field(default_factory=new_id, primary_key=True)
    part_id: uuid.UUID = Field(foreign_key="part.id", index=True)
    camera_id: str
    frame_id: int
    camera_timestamp_ns: int | None = None
    received_at: datetime = Field(sa_type=UtcDateTime)
    height_px: int
    width_px: int
    channels: int
    score: float | None = None
    image_state: ImageState = Field(sa_column=Column(_Text(ImageState), nullable=False))
    image_sha256: str | None = None
    map_sha256: str | None = None
    """The anomaly map's file in the image store, None where nothing was scored or kept."""
    map_box: list[int] | None = Field(default=None, sa_column=Column(JSON(none_as_null=True), nullable=True))
    """Left, top, right and bottom of the pixels that the map covers; None where nobody noted it: before
    schema 4 the box around what the recipe inspects, which is wrong for parts that were aligned."""


class OrphanFrame(Base, table=True):
    """A frame that was given to no part. Added, never changed."""

    __tablename__ = "orphan_frame"
    __table_args__ = (
        CheckConstraint("image_state IN ('KEPT', 'NOT_KEPT')", name="image_state"),
        CheckConstraint("(image_state = 'KEPT') = (image_sha256 IS NOT NULL)", name="kept_has_hash"),
        _named_by_row("orphan_frame", "image_sha256"),
    )

    id: uuid.UUID = Field(default_factory=new_id, primary_key=True)
    station_id: str = Field(foreign_key="station.id", index=True)
    camera_id: str
    frame_id: int | None = None
    camera_timestamp_ns: int | None = None
    received_at: datetime = Field(sa_type=UtcDateTime)
    reason: str
    """Why it is no part's, as `CODE: sentence`."""
    height_px: int | None = None
    """None, as the width, where the pixels were gone."""
    width_px: int | None = None
    image_state: ImageState = Field(sa_column=Column(_Text(ImageState), nullable=False))
    image_sha256: str | None = None


class Review(Base, table=True):
    """What a reviewer found a part to be. Added, never changed; the latest of a part counts."""

    __tablename__ = "review"
    __table_args__ = (CheckConstraint("finding IN ('GOOD', 'DEFECTIVE')", name="finding"),)

    id: uuid.UUID = Field(default_factory=new_id, primary_key=True)
    part_id: uuid.UUID = Field(foreign_key="part.id", index=True)
    finding: Finding = Field(sa_column=Column(_Text(Finding), nullable=False))
    note: str = ""
    reviewer_id: int = Field(foreign_key="user.id")
    decided_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class Audit(Base, table=True):
    """Who did what, when and why: append-only, each row holding the hash of the one before."""

    __tablename__ = "audit"

    seq: int | None = Field(default=None, primary_key=True)
    at: datetime = Field(sa_type=UtcDateTime)
    who: str
    what: str
    """The act, as `noun.verb`: `model.activate`, `review.add`, `user.create`."""
    subject: str
    before: dict[str, Any] | None = Field(default=None, sa_column=Column(JSON, nullable=True))
    after: dict[str, Any] | None = Field(default=None, sa_column=Column(JSON, nullable=True))
    why: str = ""
    previous_sha256: str
    sha256: str = Field(unique=True)


class User(Base, table=True):
    """A person who may log in to the review site."""

    __tablename__ = "user"

    id: int | None = Field(default=None, primary_key=True)
    name: str = Field(unique=True)
    password_hash: str
    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    disabled_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class LoginSession(Base, table=True):
    """A login. Only the hash of its token is kept."""

    __tablename__ = "login_session"

    token_sha256: str = Field(primary_key=True)
    user_id: int = Field(foreign_key="user.id", index=True)
    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    last_seen_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
