"""The serving side: ports, connections, calls and the ways in which handlers run."""

from hasten.rpc.server._server import Server

__all__ = ("Server",)
