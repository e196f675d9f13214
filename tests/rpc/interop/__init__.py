"""gRPC's interoperability tests, between every pair of stacks.

`protos/` holds the official messages and services, `_servicer.py` the official server, `_cases.py` and
`_compression.py` the official client with what each case must end with; `_stacks.py` makes the servers and channels
of each stack. Source: grpc/grpc, doc/interop-test-descriptions.md.
"""
