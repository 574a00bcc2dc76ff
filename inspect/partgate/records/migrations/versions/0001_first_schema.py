"""The first schema."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# Rows of these say what was done and decided; correcting one means adding another.
APPEND_ONLY = ("activation", "audit", "recipe", "review")


def upgrade() -> None:
    _create_audit()
    _create_model()
    _create_station()
    _create_user()
    _create_login_session()
    _create_recipe()
    _create_activation()
    _create_part()
    _create_frame()
    _create_review()
    _create_snapshot_image()
    for table in APPEND_ONLY:
        _refuse(table, "UPDATE", f"rows of {table} are never changed; add another")
        _refuse(table, "DELETE", f"rows of {table} are never deleted")
    _refuse("part", "UPDATE", "a closed part is never changed", when="WHEN OLD.verdict IS NOT NULL")
    _refuse("part", "DELETE", "rows of part are never deleted: the ledger would not balance")


def _refuse(table: str, act: str, message: str, *, when: str = "") -> None:
    op.execute(
        f'CREATE TRIGGER {table}_refuses_{act.lower()} BEFORE {act} ON "{table}" {when}'
        f" BEGIN SELECT RAISE(ABORT, '{message}'); END"
    )


def _create_audit() -> None:
    op.create_table(
        "audit",
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.Column("who", sa.String(), nullable=False),
        sa.Column("what", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("before", sa.JSON(), nullable=True),
        sa.Column("after", sa.JSON(), nullable=True),
        sa.Column("why", sa.String(), nullable=False),
        sa.Column("previous_sha256", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_audit")),
        sa.UniqueConstraint("sha256", name=op.f("uq_audit_sha256")),
    )


def _create_model() -> None:
    op.create_table(
        "model",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("product", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("parent_id", sa.String(), nullable=True),
        sa.Column("report", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["parent_id"], ["model.id"], name=op.f("fk_model_parent_id_model")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_model")),
    )
    op.create_index(op.f("ix_model_product"), "model", ["product"], unique=False)


def _create_station() -> None:
    op.create_table(
        "station",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_station")),
    )


def _create_user() -> None:
    op.create_table(
        "user",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("password_hash", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("disabled_at", sa.DateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_user")),
        sa.UniqueConstraint("name", name=op.f("uq_user_name")),
    )


def _create_login_session() -> None:
    op.create_table(
        "login_session",
        sa.Column("token_sha256", sa.String(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("last_seen_at", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["user.id"], name=op.f("fk_login_session_user_id_user")),
        sa.PrimaryKeyConstraint("token_sha256", name=op.f("pk_login_session")),
    )
    op.create_index(op.f("ix_login_session_user_id"), "login_session", ["user_id"], unique=False)


def _create_recipe() -> None:
    op.create_table(
        "recipe",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("product", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("model_id", sa.String(), nullable=False),
        sa.Column("content", sa.JSON(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["model_id"], ["model.id"], name=op.f("fk_recipe_model_id_model")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_recipe")),
        sa.UniqueConstraint("product", "version", name=op.f("uq_recipe_product")),
    )
    op.create_index(op.f("ix_recipe_product"), "recipe", ["product"], unique=False)


def _create_activation() -> None:
    op.create_table(
        "activation",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("product", sa.String(), nullable=False),
        sa.Column("recipe_id", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["recipe_id"], ["recipe.id"], name=op.f("fk_activation_recipe_id_recipe")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_activation")),
    )
    op.create_index(op.f("ix_activation_product"), "activation", ["product"], unique=False)


def _create_part() -> None:
    op.create_table(
        "part",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("station_id", sa.String(), nullable=False),
        sa.Column("trigger_id", sa.Integer(), nullable=False),
        sa.Column("triggered_at", sa.DateTime(), nullable=False),
        sa.Column("serial_number", sa.String(), nullable=True),
        sa.Column("product", sa.String(), nullable=True),
        sa.Column("recipe_id", sa.Integer(), nullable=True),
        sa.Column("model_id", sa.String(), nullable=True),
        sa.Column("runtime", sa.String(), nullable=True),
        sa.Column("verdict", sa.String(), nullable=True),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("score", sa.Float(), nullable=True),
        sa.Column("latency_ms", sa.Float(), nullable=True),
        sa.Column("closed_at", sa.DateTime(), nullable=True),
        sa.CheckConstraint(
            "verdict <> 'UNDECIDED' OR reason IS NOT NULL", name=op.f("ck_part_undecided_says_why")
        ),
        sa.CheckConstraint(
            "verdict IN ('ACCEPT', 'REVIEW', 'REJECT', 'UNDECIDED')", name=op.f("ck_part_verdict")
        ),
        sa.CheckConstraint(
            "(verdict IS NULL) = (closed_at IS NULL)", name=op.f("ck_part_closed_with_verdict")
        ),
        sa.ForeignKeyConstraint(["model_id"], ["model.id"], name=op.f("fk_part_model_id_model")),
        sa.ForeignKeyConstraint(["recipe_id"], ["recipe.id"], name=op.f("fk_part_recipe_id_recipe")),
        sa.ForeignKeyConstraint(["station_id"], ["station.id"], name=op.f("fk_part_station_id_station")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_part")),
        sa.UniqueConstraint("station_id", "trigger_id", name=op.f("uq_part_station_id")),
    )
    op.create_index(op.f("ix_part_product"), "part", ["product"], unique=False)
    op.create_index(op.f("ix_part_triggered_at"), "part", ["triggered_at"], unique=False)
    op.create_index("ix_part_verdict_triggered_at", "part", ["verdict", "triggered_at"], unique=False)


def _create_frame() -> None:
    op.create_table(
        "frame",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("part_id", sa.Uuid(), nullable=False),
        sa.Column("camera_id", sa.String(), nullable=False),
        sa.Column("frame_id", sa.Integer(), nullable=False),
        sa.Column("camera_timestamp_ns", sa.Integer(), nullable=True),
        sa.Column("received_at", sa.DateTime(), nullable=False),
        sa.Column("height_px", sa.Integer(), nullable=False),
        sa.Column("width_px", sa.Integer(), nullable=False),
        sa.Column("channels", sa.Integer(), nullable=False),
        sa.Column("score", sa.Float(), nullable=True),
        sa.Column("image_state", sa.String(), nullable=False),
        sa.Column("image_sha256", sa.String(), nullable=True),
        sa.Column("map_sha256", sa.String(), nullable=True),
        sa.CheckConstraint(
            "(image_state = 'KEPT') = (image_sha256 IS NOT NULL)", name=op.f("ck_frame_kept_has_hash")
        ),
        sa.CheckConstraint("image_state IN ('KEPT', 'NOT_KEPT', 'LOST')", name=op.f("ck_frame_image_state")),
        sa.ForeignKeyConstraint(["part_id"], ["part.id"], name=op.f("fk_frame_part_id_part")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_frame")),
    )
    op.create_index(op.f("ix_frame_part_id"), "frame", ["part_id"], unique=False)


def _create_review() -> None:
    op.create_table(
        "review",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("part_id", sa.Uuid(), nullable=False),
        sa.Column("finding", sa.String(), nullable=False),
        sa.Column("note", sa.String(), nullable=False),
        sa.Column("reviewer_id", sa.Integer(), nullable=False),
        sa.Column("decided_at", sa.DateTime(), nullable=False),
        sa.CheckConstraint("finding IN ('GOOD', 'DEFECTIVE')", name=op.f("ck_review_finding")),
        sa.ForeignKeyConstraint(["part_id"], ["part.id"], name=op.f("fk_review_part_id_part")),
        sa.ForeignKeyConstraint(["reviewer_id"], ["user.id"], name=op.f("fk_review_reviewer_id_user")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_review")),
    )
    op.create_index(op.f("ix_review_part_id"), "review", ["part_id"], unique=False)


def _create_snapshot_image() -> None:
    op.create_table(
        "snapshot_image",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("model_id", sa.String(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("image_sha256", sa.String(), nullable=False),
        sa.Column("origin", sa.String(), nullable=False),
        sa.Column("part_id", sa.Uuid(), nullable=True),
        sa.Column("finding", sa.String(), nullable=False),
        sa.CheckConstraint("finding IN ('GOOD', 'DEFECTIVE')", name=op.f("ck_snapshot_image_finding")),
        sa.ForeignKeyConstraint(["model_id"], ["model.id"], name=op.f("fk_snapshot_image_model_id_model")),
        sa.ForeignKeyConstraint(["part_id"], ["part.id"], name=op.f("fk_snapshot_image_part_id_part")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_snapshot_image")),
        sa.UniqueConstraint("model_id", "position", name=op.f("uq_snapshot_image_model_id")),
    )
    op.create_index(op.f("ix_snapshot_image_model_id"), "snapshot_image", ["model_id"], unique=False)
