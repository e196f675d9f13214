"""The serving side: ports, connections, calls and the ways in which handlers run."""
