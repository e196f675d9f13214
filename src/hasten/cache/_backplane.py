"""The backplane's contract: how processes tell each other what their memory must not serve any more.

The promise: once `announce` has returned True, no read that begins from then on, in any process, is answered by what
was loaded before. The change itself, in the source and in the second tier, can be read before it is announced.

A process that stands still cannot be told anything, so none may believe its memory for longer than the others wait:

1. A process answers from its memory, or by a load that began before the read, only while it *trusts*: until the latest
   moment that `trust` has named. What it keeps beyond that may be served again when trust comes back.
2. Trust comes from *beats*. A beat is sent to where announcements are taken, and comes back behind all that were taken
   before it. When it is back and these have been applied, it gives trust until TRUST_SECONDS after it was *sent*.
3. Where an announcement may have been missed the memory is emptied, and loads under way are detached (`distrust`): at
   each loss, and when a process joins, after it has begun to hear and before its first beat.
4. `announce` returns True when each process that may have trust from a beat taken before the announcement has applied
   it, or when TRUST_SECONDS have passed since the announcement was taken.

Proof. Let a process answer from its memory after `announce` has returned. By 1 and 2 it has sent a beat less than
TRUST_SECONDS ago that gives it trust. If this beat was taken after the announcement, then before it trusted it had
applied the announcement (2), or it has joined since and forgotten what it had (3). If it was taken before, `announce`
has waited for this process (4): it has applied the announcement, or TRUST_SECONDS have passed since that was taken, so
since the beat was sent, and it has no trust from it. So it has applied the announcement or forgotten everything, and
what it answers by was loaded later.

It follows that who is killed, frozen or cut off is waited for until its trust is over, and not again: its last beat was
taken too long ago. Who leaves forgets before it says so, and is not waited for at all.

Where announcements are taken may be away for everybody. To serve nothing from memory then would put every read on the
source. So there is a short form of trust, for those who know that it is not only they who are cut off:

5. Who has looked, and found that nobody could announce anything at some moment since it began to look, may answer
   *alone*: until TRUST_SECONDS after it began to look, by loads that began less than TRUST_SECONDS ago. It looks again
   and again. When it becomes alone, also again after that was over, its memory is emptied and loads are detached.
6. `announce` returns True for what is taken less than TRUST_SECONDS after such a moment only when TRUST_SECONDS have
   passed since it was taken.

Proof. Let a process that is alone answer at t by a load that began at b, after an announcement that was taken at k has
returned, and let it have found, since it is alone, that nobody could announce at the moments m, m', ... If k is before
all of them, it was taken before the memory was emptied, so before b. If not, let m be the last one before k. Whether
there is another one behind k, or the process still goes by m at t: by 5 it is alone until less than TRUST_SECONDS after
m, so k is less than TRUST_SECONDS after m. By 6 TRUST_SECONDS have passed at t since k; less have passed since b.

All moments are the process's own `time.monotonic()`; only durations are compared between processes, and adapters wait
for 5 % more, because no two clocks run alike.
"""

from dataclasses import dataclass
from typing import Protocol

TRUST_SECONDS = 1.0

UNTRUSTED_SECONDS = TRUST_SECONDS
"""Who is alone, or has no backplane and so no promise, keeps a value until so long after its load *began*."""


@dataclass(frozen=True, slots=True)
class Invalidation:
    """What is not to be served any more.

    Attributes:
      keys: The values under these keys of the second tier.
      tags: The values with one of these tags that were loaded at an earlier version than the one given.
    """

    keys: tuple[str, ...] = ()
    tags: tuple[tuple[str, int], ...] = ()


class Listener(Protocol):
    """What a backplane tells the cache; called in the loop in which it was started, must not wait.

    A listener begins without trust. One that raises has missed something: it is told to `distrust`, and joins again.
    """

    def apply(self, invalidation: Invalidation) -> None:
        """Drop what is invalid, and detach the loads of it; when this returns the backplane acknowledges.

        Args:
          invalidation: Of one announcement or of several, which then are in the order in which they were announced; a
            tag may be in it with several versions, of which the highest counts.
        """

    def trust(self, until: float) -> None:
        """Believe the memory until then, by `time.monotonic()`; it may have passed already.

        After a moment at which trust was over, what was kept may be served again, unless `distrust` came between.
        """

    def distrust(self) -> None:
        """Empty the memory, detach the loads under way, and keep nothing until trust is given: some may be invalid.

        What is loaded from now on may be kept once trust is given.
        """

    def alone(self, until: float) -> None:
        """Believe until then, by `time.monotonic()`, what is loaded from now on, for UNTRUSTED_SECONDS each.

        Nobody can announce anything just now. Called again and again while that is so; between this and trust comes
        `distrust`. If we are not alone, or what the last call gave is over, the memory is emptied and loads under way
        are detached first.
        """


class Backplane(Protocol):
    """Carries invalidations to every process that has the same cache.

    It belongs to the event loop in which it was started: all of its methods are called there, `announce` by any number
    of tasks at once. A process forked from a member is none, whatever it has inherited: it needs a cache of its own.

    Attributes:
      name: For messages and metrics.
    """

    name: str

    async def start(self, listener: Listener) -> None:
        """Join the members and stay one, through reconnects, until `aclose`; return without waiting for the first.

        The listener hears `distrust` at each loss and each time we join, and `trust` again and again in between. While
        we are no member it may hear `alone`.
        Called once, and again after `aclose`.
        """

    async def announce(self, invalidation: Invalidation) -> bool:
        """Tell every member, ourselves too, and wait until none of them can serve what is invalid.

        Our own listener has applied it before anything is sent.

        Returns:
          True by the promise above. False if it cannot be said whether the others have been told: the caller tells it
          again later, which harms nobody who has heard it before.
        Cancellation: what was sent is sent; the others apply it.
        """

    async def aclose(self) -> None:
        """Leave the members: our listener distrusts, and nobody waits for us any more.

        What is announced just now returns False. Cancellation: others may wait for us once, until our trust is over.
        """
