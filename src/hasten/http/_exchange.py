"""What happens when the cache has no response for a request, or none that is fresh: the app makes one.

The app runs for one request, whose client gets the response as it comes, or in the background, for nobody in
particular. Either way a response is given to others only if it is kept.
"""

import asyncio
from collections.abc import Callable

from hasten.cache import Loaded, Region
from hasten.http._asgi import App, Receive, Send
from hasten.http._capture import AppFailed, Capture
from hasten.http._fields import values
from hasten.http._freshness import Head, Life, birth, life_of, may_keep
from hasten.http._request import Request
from hasten.http._stored import StoredResponse, stored_response
from hasten.http._tag_field import tags_in
from hasten.http._unkept import Unkept
from hasten.resilience import deadline

_UNKEPT_SECONDS = 60.0
_FAILED_SECONDS = 1.0


class Origin:
    """The app behind the cache, and what is needed to run it.

    Args:
      clock: `time.time`.
      most: Bytes of a body that is kept, at most.
      refresh_timeout: Seconds for a run of the app in the background.
      missed: The field that says that the app made a response.
    Attributes:
      unkept: Requests whose responses are not kept for now.
    """

    def __init__(
        self,
        app: App,
        region: Region[StoredResponse | None],
        *,
        clock: Callable[[], float],
        most: int,
        refresh_timeout: float,
        missed: tuple[bytes, bytes],
    ) -> None:
        self.app = app
        self.region = region
        self.clock = clock
        self.most = most
        self.refresh_timeout = refresh_timeout
        self.missed = missed
        self.unkept = Unkept(clock)
        self._tasks: set[asyncio.Task[None]] = set()

    def let_finish(self, capture: Capture) -> None:
        """Let the app go on after its response, with what it does in the background."""
        task = asyncio.get_running_loop().create_task(self.finish(capture))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def finish(self, capture: Capture) -> None:
        """Wait until the app has returned; its error, of which no client hears, is the loop's exception handler's.

        Cancellation: cancels the app.
        """
        try:
            await capture.finish()
        except Exception as error:
            asyncio.get_running_loop().call_exception_handler(
                {"message": "hasten.http: the app failed where no client is told", "exception": error}
            )


class Exchange:
    """One request that goes through the region, and the app's run for it if there is one.

    Attributes:
      request: The request.
      capture: The app's response to this request's client; None as long as the app did not run for it.
      made: What was kept of it, or of a run in the background that this request waited for.
    """

    def __init__(self, origin: Origin, request: Request, client: tuple[Send, Receive]) -> None:
        self.capture: Capture | None = None
        self.made: StoredResponse | None = None
        self.request = request
        self._origin = origin
        self._client = client
        self._task = asyncio.current_task()

    async def get(self, *, forced: bool) -> StoredResponse | None:
        """Return the response from the region; None if there is none for others.

        Then the client has got the app's own if there is a `capture`; else the app has not run for it.

        Args:
          forced: What there is will not do.
        Cancellation: cancels the app's run for this request.
        """
        request, region = self.request, self._origin.region
        get = region.refresh if forced else region.load
        try:
            return await get(request.key, self.load, request.match.tags, request.match.active.policy)
        except AppFailed as failure:
            if self.capture is not None and failure.owner is self.capture:
                await self.capture.pass_on_failure()
            return None  # one that was made for another request is for that one alone

    async def stop(self) -> None:
        """End the app's run for this request."""
        if self.capture is not None:
            await self.capture.stop()

    async def load(self) -> Loaded[StoredResponse | None]:
        """Be the region's loader: in the request's own task for its client, in any other one in the background."""
        request, region = self.request, self._origin.region
        if asyncio.current_task() is not self._task:
            return await self._renew()
        if request.is_current:
            return await self._run()
        # Responses turned out to depend on more fields than this key has: wait for one under the right key.
        request.make_key()
        value = await region.load(request.key, self.load, request.match.tags, request.match.active.policy)
        return Loaded(value=value, store=False)

    async def _run(self) -> Loaded[StoredResponse | None]:
        origin, request = self._origin, self.request
        trial = Trial(origin, request)
        self.capture = Capture(
            self._client,
            trial,
            origin.most,
            origin.missed,
            hidden=request.match.active.hidden,
            whole_first=request.conditional or request.head_only,
        )
        try:
            kept = await self.capture.run(origin.app, request.scope_for_all())
        except AppFailed:
            origin.unkept.note(request.identity, _FAILED_SECONDS, by_head=True)
            raise
        return self._loaded(self.capture, trial, kept=kept)

    async def _renew(self) -> Loaded[StoredResponse | None]:
        """Run the app for nobody in particular."""
        origin, request = self._origin, self.request
        trial = Trial(origin, request)
        capture = Capture(None, trial, origin.most, origin.missed, hidden=request.match.active.hidden)
        try:
            async with deadline(origin.refresh_timeout):
                kept = await capture.run(origin.app, request.scope_without_client())
        except AppFailed:
            origin.let_finish(capture)
            raise
        if kept:
            origin.let_finish(capture)
        else:
            await capture.stop()
            if not trial.learned:  # what there is, is not what the app says any more
                await origin.region.invalidate(request.key)
        return self._loaded(capture, trial, kept=kept)

    def _loaded(self, capture: Capture, trial: "Trial", *, kept: bool) -> Loaded[StoredResponse | None]:
        head, life, request = capture.head, trial.life, self.request
        if not kept or head is None or life is None:
            if not trial.learned:
                self._origin.unkept.note(request.identity, _UNKEPT_SECONDS, by_head=not trial.passed)
            return Loaded(value=None, store=False)
        rule = request.match.active.rule
        self.made = stored_response(head, capture.body, life, trial.born, rule, request.key)
        ttl = trial.born + life.lifetime - self._origin.clock() if life.explicit else None
        return Loaded(value=self.made, ttl=ttl, stale=life.stale, stale_if_error=life.stale_if_error, tags=trial.tags)


class Trial:
    """Decides whether a response may be kept, when its head has come.

    Attributes:
      life: How long it lives; from when its age was 0, `born`.
      tags: What it names beside the path's.
      passed: It may be kept.
      learned: It may not, but the next one may: it depends on request fields that were not in the key.
    """

    def __init__(self, origin: Origin, request: Request) -> None:
        self.life: Life | None = None
        self.tags: tuple[str, ...] = ()
        self.passed = self.learned = False
        self._origin = origin
        self._request = request
        self._began = self.born = origin.clock()

    def __call__(self, head: Head) -> bool:
        request, now = self._request, self._origin.clock()
        active = request.match.active
        self.born = birth(head, self._began, now)
        self.life = life = _from_birth(life_of(head, active.rule, now), now - self.born)
        if life is None or not may_keep(
            head, life, active.rule, authorized=request.authorized, cookies=request.has_other_cookies
        ):
            return False
        if now - self.born >= life.lifetime + max(life.stale, life.stale_if_error):
            return False
        if active.tag_field is not None and not self._has_tags(values(head.headers, active.tag_field)):
            return False
        if not head.vary <= set(request.vary):
            self.learned = active.learn(head.vary)
            return False
        self.passed = True
        return True

    def _has_tags(self, lines: list[bytes]) -> bool:
        """Whether a response says what drops it: an empty field says that nothing else does."""
        tags = tags_in(lines) if lines else None
        self.tags = tags or ()
        return tags is not None


def _from_birth(life: Life | None, age: float) -> Life | None:
    """Return a life that counts from a response's birth: a rule's ttl begins when the response comes."""
    if life is None or life.explicit:
        return life
    return Life(life.lifetime + age, life.stale, life.stale_if_error, explicit=False)
