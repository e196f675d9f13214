"""hasten finds where every millisecond of a Python service goes, and proves that it is gone.

`install(app)` puts the ledger into an existing ASGI app; everything else is imported from its package
(`hasten.ledger`, `hasten.load`, `hasten.diagnose`, `hasten.rpc`) or run as the `hasten` command.
"""

from hasten._core.errors import (
    ConfigurationError,
    HastenError,
    InvalidMeasurement,
    MissingDependency,
    TargetUnreachable,
)
from hasten.ledger import install

__version__ = "0.1.0"

__all__ = (
    "ConfigurationError",
    "HastenError",
    "InvalidMeasurement",
    "MissingDependency",
    "TargetUnreachable",
    "__version__",
    "install",
)
