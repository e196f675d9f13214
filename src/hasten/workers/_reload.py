"""Tells when a file of the app has changed: for development."""

from collections.abc import AsyncIterator
from pathlib import Path

from hasten._core.errors import MissingDependency


def require_watcher() -> None:
    """Check that files can be watched.

    Raises:
      MissingDependency: the extra `dev` is not installed.
    """
    try:
        import watchfiles  # noqa: F401 - for who develops
    except ModuleNotFoundError as error:
        if error.name != "watchfiles":
            raise
        raise MissingDependency("watchfiles", "dev") from error


async def changes() -> AsyncIterator[Path]:
    """Yield a Python file of this folder, or one below it, whenever some have changed.

    Those in .venv, in caches and of version control are left out. It waits in a thread of watchfiles; cancellation ends
    that.
    """
    import watchfiles  # for who develops

    folder = Path.cwd()
    async for changed in watchfiles.awatch(folder, watch_filter=watchfiles.PythonFilter()):
        file = Path(min(path for _, path in changed))
        yield file.relative_to(folder) if file.is_relative_to(folder) else file
