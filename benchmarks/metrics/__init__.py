"""Metrics of an HTTP service: `_benchmark.py` says who is compared, `_apps.py` how each of them is set up.

Nothing is imported here, so that the child processes load only what they run.
"""
