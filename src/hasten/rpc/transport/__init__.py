"""HTTP/2 connections (RFC 9113) on asyncio.Protocol, as far as both sides of gRPC are the same."""

from hasten.rpc.transport._connection import Connection

__all__ = ("Connection",)
