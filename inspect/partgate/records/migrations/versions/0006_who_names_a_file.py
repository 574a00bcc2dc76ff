"""Which rows name a file of the image store."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


NAMES = (("frame", "image_sha256"), ("frame", "map_sha256"), ("orphan_frame", "image_sha256"))


def upgrade() -> None:
    for table, column in NAMES:
        op.create_index(
            f"ix_{table}_{column}", table, [column], sqlite_where=sa.text(f"{column} IS NOT NULL")
        )
    op.create_index("ix_snapshot_image_image_sha256", "snapshot_image", ["image_sha256"])
