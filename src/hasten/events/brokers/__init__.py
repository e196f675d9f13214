"""The brokers, a module each: import one, or name it by its URL in `Bus`."""

__all__ = ()
