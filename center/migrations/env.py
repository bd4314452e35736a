"""Alembic's entry: runs the migrations on the connection that center.migrate opened."""

from alembic import context

import worklist.tables  # noqa: F401 - every table is known once this is imported
from storage.database import Base

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    # SQLite cannot alter most things in place; batch mode copies the table, and changes nothing elsewhere.
    render_as_batch=True,
    compare_type=True,
    # Without this, a migration that fails on SQLite leaves half of its tables behind.
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
