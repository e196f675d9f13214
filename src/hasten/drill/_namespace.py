"""A host of a drill's own, which can go without a word: a network namespace behind a pair of veth devices.

While its link is down nothing comes back from it, neither a reset nor an ICMP message, as from a host that has lost its
power. Its neighbour entry is permanent: without that the kernel would miss an answer to ARP and say so after 3 s.

Source: ip-netns(8), ip-link(8), ip-neighbour(8), veth(4); RFC 2544 appendix C.2.2: 198.18.0.0/15 is for measurements.
"""

import asyncio
import json
import secrets
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from ipaddress import ip_network

from hasten.drill._drill import Impossible

_NETWORK = ip_network("198.18.0.0/15")
_PREFIX = 30  # two addresses: one for each end
_END, _END_ADDRESS = "uplink", "02:00:00:00:00:02"  # the device within, and its address of layer 2
_PATIENCE = 10.0  # seconds of one `ip`


@dataclass(frozen=True, slots=True)
class Namespace:
    """A host.

    Attributes:
      name: Of the namespace, and of the device outside of it.
      address: Where it is reached.
    """

    name: str
    address: str

    @property
    def entering(self) -> tuple[str, ...]:
        """What goes before a command that is to run there; the process is the command's own."""
        return "ip", "netns", "exec", self.name

    @asynccontextmanager
    async def gone(self) -> AsyncIterator[None]:
        """Have it say nothing while the block runs: what it is sent is lost, its processes and connections stay."""
        await asyncio.to_thread(_ip, "-netns", self.name, "link", "set", _END, "down")
        try:
            yield
        finally:
            await asyncio.to_thread(_ip, "-netns", self.name, "link", "set", _END, "up")


@contextmanager
def namespace() -> Iterator[Namespace]:
    """Have a host while the block runs. It blocks for some 50 ms at either end, so that no cancellation comes between.

    Raises:
      Impossible: it takes Linux, iproute2 and root.
    """
    if shutil.which("ip") is None:
        raise Impossible("there is no `ip`; install iproute2")
    name = f"hasten{secrets.token_hex(4)}"  # 14 characters: a device's name has 15 at most
    with ExitStack() as made:
        made.callback(_remove, "netns", "delete", name)
        _ip("netns", "add", name)
        here, there = _free_addresses()
        made.callback(_remove, "link", "delete", name)  # and its other end with it
        _ip("link", "add", name, "type", "veth", "peer", "name", _END, "address", _END_ADDRESS, "netns", name)
        _ip("address", "add", f"{here}/{_PREFIX}", "dev", name)
        _ip("link", "set", name, "up")
        _ip("neighbour", "replace", there, "lladdr", _END_ADDRESS, "nud", "permanent", "dev", name)
        _ip("-netns", name, "address", "add", f"{there}/{_PREFIX}", "dev", _END)
        _ip("-netns", name, "link", "set", _END, "up")
        _ip("netns", "exec", name, "true")  # it takes more than making it does
        yield Namespace(name, there)


def _free_addresses() -> tuple[str, str]:
    """Return two addresses of a network that nothing is routed to.

    Raises:
      Impossible: there is none: someone else has all of 198.18.0.0/15.
    """
    said = _ip("-json", "-4", "route", "show", "table", "all", "root", str(_NETWORK))
    taken = [ip_network(route["dst"]) for route in json.loads(said or "[]")]
    for network in _NETWORK.subnets(new_prefix=_PREFIX):
        if not any(network.overlaps(one) for one in taken):
            here, there = network.hosts()
            return str(here), str(there)
    raise Impossible(f"no network of {_NETWORK} is free")


def _remove(*arguments: str) -> None:
    """Remove what may not have been made."""
    with suppress(Impossible):
        _ip(*arguments)


def _ip(*arguments: str) -> str:
    """Run `ip`, and return what it prints.

    Raises:
      Impossible: it cannot do that, or must not; it says why.
    """
    command = ["ip", *arguments]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_PATIENCE, check=False
    )
    if done.returncode:
        raise Impossible(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout
