"""Worked examples: run them from a checkout."""
