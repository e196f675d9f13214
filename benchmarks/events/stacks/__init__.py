"""One module a library (`benchmarks.events._stack.SETUPS`)."""
