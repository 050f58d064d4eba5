"""The native HTTP API: routes and their shapes, over the operations."""
