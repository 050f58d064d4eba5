"""What Alembic runs for every command: it is given a connection, it never opens one."""

from alembic import context

from waypost.storage.schema import metadata

if context.is_offline_mode():
    context.configure(
        dialect_name="sqlite", target_metadata=metadata, output_buffer=context.config.output_buffer
    )
else:
    context.configure(
        connection=context.config.attributes["connection"],
        target_metadata=metadata,
        transactional_ddl=True,
    )
with context.begin_transaction():
    context.run_migrations()
