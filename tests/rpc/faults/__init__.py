"""Faults of peers and networks: what a call's caller sees of them, and what is left behind."""
