"""tenacity called by one `AsyncRetrying`, without a wrapper: its decorator copies that for each call."""

from functools import partial

from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_none

from benchmarks.resilience._work import Work


async def retry(work: Work) -> Work:
    """Return what calls it by an `AsyncRetrying`: three attempts, no pauses, the last error as it is."""
    retrying = AsyncRetrying(
        stop=stop_after_attempt(3),
        wait=wait_none(),
        retry=retry_if_exception_type(ConnectionError),
        reraise=True,
    )
    return partial(retrying, work)
