"""Hostile and broken sessions, straight into the protocols of both sides."""
