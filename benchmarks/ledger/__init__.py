"""The cost of the ledger: `_benchmark.py` compares, `_app.py` and `_echo.py` are the processes it starts.

Nothing is imported here, so that the child processes load only what they run.
"""
