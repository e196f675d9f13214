"""The pure part of the transport: bytes in, values out, no I/O and no loop."""
