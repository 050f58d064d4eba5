"""Socotra's Event API: diverted events, webhooks, events, tokens."""
