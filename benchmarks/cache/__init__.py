"""Caches of values: `_benchmark.py` says who is compared, `stacks/` how each of them is set up.

`_memory_child.py` and `_remote_child.py` are the processes it starts, one a subject; `_backend.py` is the server of a
second tier; `_trials.py` is what is measured. Nothing is imported here, so that the child processes load only what
they run.
"""
