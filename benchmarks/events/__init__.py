"""`events`: messages published until the broker has confirmed them, and handled until it knows that they are.

`_benchmark.py` says who takes part, `_backend.py` holds a real broker, `_client.py` is a subject's process and does
what `_orders.py` asks, `stacks/` has each subject's way to publish and consume.
"""
