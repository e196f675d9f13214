"""What holds a service together: `_benchmark.py` says who is compared, `stacks/` how each guard of a call is set up.

`_guards_child.py` is the process that calls what is guarded. `_server.py` is the one that serves `_app.py`,
`_refusing.py` the one that has no room, `_client.py` the one that asks them. Nothing is imported here, so that the
child processes load only what they run.
"""
