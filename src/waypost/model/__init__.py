"""Nouns: frozen values, state tables and errors. No I/O, no clock, no chance."""
