"""Metadata that a peer adds to its responses of its own, beside what the service sends."""

from dataclasses import replace

from tests.rpc.interop._outcome import Outcome, Pair


def without(outcome: Outcome, added: str) -> Outcome:
    """Return `outcome` without the header or trailer of that name."""

    def kept(metadata: tuple[Pair, ...]) -> tuple[Pair, ...]:
        return tuple(pair for pair in metadata if pair[0] != added)

    return tuple(replace(call, initial=kept(call.initial), trailing=kept(call.trailing)) for call in outcome)
