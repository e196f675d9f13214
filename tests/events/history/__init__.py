"""Histories: what was published and confirmed, against the effects that consumers have written down."""
