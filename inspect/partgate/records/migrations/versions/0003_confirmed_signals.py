"""Whether a part's signal was confirmed."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Alembic's batch copies the table and leaves its triggers behind, those that keep closed parts closed.
    triggers = [
        row.sql
        for row in op.get_bind().execute(
            sa.text("SELECT sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'part'")
        )
    ]
    with op.batch_alter_table("part") as part:
        part.add_column(sa.Column("signal_state", sa.String(), nullable=True))
        part.create_check_constraint(
            op.f("ck_part_signal_state"), "signal_state IN ('CONFIRMED', 'UNCONFIRMED')"
        )
    for trigger in triggers:
        op.execute(trigger)
