"""For tests of what is built with hasten: a proxy that breaks connections as networks and servers do."""

from hasten.testing._faults import Direction, Faults
from hasten.testing._proxy import FaultProxy

__all__ = ("Direction", "FaultProxy", "Faults")
