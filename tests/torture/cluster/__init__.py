"""Several workers on one PostgreSQL, which are killed, frozen and cut off from it under load."""
