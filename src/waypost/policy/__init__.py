"""Decisions: pure functions of (now, values)."""
