"""Frames that belong to no part."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "orphan_frame",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("station_id", sa.String(), nullable=False),
        sa.Column("camera_id", sa.String(), nullable=False),
        sa.Column("frame_id", sa.Integer(), nullable=True),
        sa.Column("camera_timestamp_ns", sa.Integer(), nullable=True),
        sa.Column("received_at", sa.DateTime(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("height_px", sa.Integer(), nullable=True),
        sa.Column("width_px", sa.Integer(), nullable=True),
        sa.Column("image_state", sa.String(), nullable=False),
        sa.Column("image_sha256", sa.String(), nullable=True),
        sa.CheckConstraint(
            "(image_state = 'KEPT') = (image_sha256 IS NOT NULL)", name=op.f("ck_orphan_frame_kept_has_hash")
        ),
        sa.CheckConstraint("image_state IN ('KEPT', 'NOT_KEPT')", name=op.f("ck_orphan_frame_image_state")),
        sa.ForeignKeyConstraint(
            ["station_id"], ["station.id"], name=op.f("fk_orphan_frame_station_id_station")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_orphan_frame")),
    )
    op.create_index(op.f("ix_orphan_frame_station_id"), "orphan_frame", ["station_id"], unique=False)
    for act, done in (("UPDATE", "changed"), ("DELETE", "deleted")):
        op.execute(
            f'CREATE TRIGGER orphan_frame_refuses_{act.lower()} BEFORE {act} ON "orphan_frame"'
            f" BEGIN SELECT RAISE(ABORT, 'rows of orphan_frame are never {done}'); END"
        )
