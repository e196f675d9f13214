"""The calling side: channels, calls, name resolution, balancing and retries."""

from hasten.rpc.channel._call import ClientCall
from hasten.rpc.channel._channel import Channel

__all__ = ("Channel", "ClientCall")
