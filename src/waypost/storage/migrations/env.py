"""What Alembic runs for every command: it is given a connection, it never opens one."""

from alembic import context

from waypost.storage.schema import metadata

if context.is_offline_mode():
    context.configure(
        dialect_name=context.config.attributes["dialect"],
        target_metadata=metadata,
        output_buffer=context.config.output_buffer,
        literal_binds=True,
        transaction_per_migration=True,
    )
else:
    context.configure(
        connection=context.config.attributes["connection"],
        target_metadata=metadata,
        transactional_ddl=True,
        transaction_per_migration=context.config.attributes["dialect"] == "postgresql",
    )
with context.begin_transaction():
    context.run_migrations()
