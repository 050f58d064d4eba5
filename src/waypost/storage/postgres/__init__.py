"""Storage in PostgreSQL, which any number of processes share."""
