"""Convoy's API: projects, endpoints, subscriptions, events and their deliveries in its shapes."""
