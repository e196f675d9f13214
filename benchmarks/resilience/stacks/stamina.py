"""stamina as its documentation decorates, without hooks: by default it has some for structlog and prometheus_client."""

import stamina
from stamina.instrumentation import set_on_retry_hooks

from benchmarks.resilience._work import Work


async def retry(work: Work) -> Work:
    """Decorate it: three attempts, no pauses, no time limit."""
    set_on_retry_hooks(())
    decorate = stamina.retry(
        on=ConnectionError, attempts=3, timeout=None, wait_initial=0, wait_max=0, wait_jitter=0, wait_exp_base=1
    )
    return decorate(work)
