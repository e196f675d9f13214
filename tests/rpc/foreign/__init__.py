"""hasten.rpc against implementations that share no code with it or with grpc.aio: Go, Node and nghttp2.

`scripts/services` finds or builds them. They run as processes of their own (`_processes.py`); hasten's side runs in the
test's loop (`_serving.py`).
"""
