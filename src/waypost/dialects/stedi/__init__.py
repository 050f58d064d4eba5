"""Stedi's event destinations API."""
