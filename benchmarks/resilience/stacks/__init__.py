"""One module a library, each with a function for every case that it has (`benchmarks.resilience._stack.SETUPS`)."""
