"""Benchmarks: peers side by side in one run, judged by ratios; `python -m benchmarks --list` names them.

A benchmark (`ledger/`, `ledger_steps.py`, `rpc/`) says which subjects there are and how to measure one of them once.
The harness around it is the same for all: `_harness.py` runs interleaved rounds, `_processes.py` holds the
pinned processes, `_load.py` the client, `_statistics.py` makes medians and ratios per round, `_budgets.py`
judges them against `budgets.toml`, `_result.py` and `_tables.py` are what comes out.
"""
