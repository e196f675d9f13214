"""Caches of HTTP responses: `_benchmark.py` says who is compared, `_apps.py` how each of them serves.

`_client.py` is the process that asks. Nothing is imported here, so that the child processes load only what they run.
"""
