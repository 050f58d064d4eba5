"""Waypost: a self-hosted platform for events and webhooks."""

__version__ = "0.1.0"
