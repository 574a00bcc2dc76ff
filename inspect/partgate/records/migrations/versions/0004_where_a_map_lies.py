"""Which pixels of a frame its anomaly map covers."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # No batch: SQLite adds a column that may be null without copying the table, and keeps its triggers.
    op.add_column("frame", sa.Column("map_box", sa.JSON(), nullable=True))
