"""Alembic's entry: runs revisions on the connection that `store.migrate` hands in."""

from alembic import context

from soboo_mta.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"], target_metadata=metadata
)
context.run_migrations()
