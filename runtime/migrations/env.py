"""Alembic's entry point; called by runtime/migrate.py with a connection, never through an ini file."""

from alembic import context

from runtime.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    transactional_ddl=True,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
