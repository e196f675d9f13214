"""Calls between services: `_benchmark.py` says who is compared, `stacks/` how each of them serves and calls.

`_server.py` and `_client.py` are the processes it starts, one pair a subject; `_calls.py` and `_memory.py` are what is
measured. Nothing is imported here, so that the child processes load only what they run.
"""
