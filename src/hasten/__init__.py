"""hasten finds where every millisecond of a Python service goes, and proves that it is gone.

`install(app)` puts the ledger into an existing ASGI app, and `install(app, bus=bus)` has consumers live with it;
everything else is imported from its package (`hasten.ledger`, `hasten.events`, `hasten.cache`, `hasten.rpc`) or run as
the `hasten` command.
"""

from hasten._core.errors import (
    ConfigurationError,
    HastenError,
    InvalidMeasurement,
    MissingDependency,
    TargetUnreachable,
)
from hasten._install import install

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
