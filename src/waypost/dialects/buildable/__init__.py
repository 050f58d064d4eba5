"""Buildable's Event API: emit events, find them, and take each of them once under a key."""
