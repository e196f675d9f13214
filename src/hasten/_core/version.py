"""The version of hasten, alone: what is below `hasten` itself needs it, too."""

__version__ = "0.1.0"
