"""The services that drills start: each module has an `app` for a server to load."""

__all__ = ()
