"""Alembic's entry: runs the revisions on the connection that `_migrate.py` opened, in its transaction."""

from alembic import context

from partgate.records._tables import metadata

context.configure(
    connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True
)
with context.begin_transaction():
    context.run_migrations()
