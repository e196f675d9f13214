"""hasten finds where every millisecond of a Python service goes, and proves that it is gone.

`install(app)` puts ledger and monitor into an existing ASGI app, and `install(app, bus=bus)` has consumers live with
it; `monitoring()` is for a process without an app. Everything else is imported from its package (`hasten.ledger`,
`hasten.events`, `hasten.cache`, `hasten.rpc`, `hasten.monitor`) or run as the `hasten` command.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hasten._core.errors import (
    ConfigurationError,
    HastenError,
    InvalidMeasurement,
    MissingDependency,
    TargetUnreachable,
)
from hasten._core.version import __version__

if TYPE_CHECKING:
    from hasten._install import install
    from hasten._monitoring import monitoring

__all__ = (
    "ConfigurationError",
    "HastenError",
    "InvalidMeasurement",
    "MissingDependency",
    "TargetUnreachable",
    "__version__",
    "install",
    "monitoring",
)

if not TYPE_CHECKING:  # which would take any name for one of ours

    def __getattr__(name: str) -> Any:
        """Import what an app installs when it is asked for: commands without it start 0.2 s sooner (PEP 562)."""
        if name not in ("install", "monitoring"):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = globals()[name] = getattr(import_module(f"hasten._{name}"), name)
        return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
