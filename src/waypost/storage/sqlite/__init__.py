"""Storage in one SQLite file, which one process has alone."""
