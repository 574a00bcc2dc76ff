"""Indexes of the few rows that are asked for among millions: open parts, unconfirmed ones, serial numbers."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    where = {
        "ix_part_open": (["station_id", "trigger_id"], "verdict IS NULL"),
        "ix_part_unconfirmed": (["station_id"], "signal_state = 'UNCONFIRMED'"),
        "ix_part_serial_number": (["serial_number"], "serial_number IS NOT NULL"),
    }
    for name, (columns, condition) in where.items():
        op.create_index(op.f(name), "part", columns, unique=False, sqlite_where=sa.text(condition))
