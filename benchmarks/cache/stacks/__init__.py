"""One module a library, each with a function for every tier that it has (`benchmarks.cache._stack.SETUPS`)."""
