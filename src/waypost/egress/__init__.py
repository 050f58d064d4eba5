"""Outgoing HTTP: the guard that decides at the socket, and the transport that sends."""
