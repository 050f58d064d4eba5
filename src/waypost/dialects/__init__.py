"""Dialects: other event APIs on the wire, each a translation of the operations that all share."""
