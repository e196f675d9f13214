"""Which of the ports of processes are admin ports: each is asked."""

from hasten._core.errors import TargetUnreachable
from hasten.admin.live._client import Place, fetch_story
from hasten.admin.live._processes import family, listening_ports

_PROBE = 1.0  # seconds that a port has to say that it is an admin port


def admin_ports_of(target: str, pids: list[int], token: str) -> list[Place]:
    """Return the admin ports of processes and of what they have started.

    Args:
      target: What messages call the processes.
    Raises:
      TargetUnreachable: there are no processes, or none of their ports is an admin port.
    """
    everyone = dict.fromkeys(pid for parent in pids for pid in family(parent))
    ports = dict.fromkeys(place for pid in everyone for place in listening_ports(pid))
    found = [Place(host, port, token=token) for host, port in ports]
    admin = [place for place in found if _is_admin(place)]
    if not pids:
        raise TargetUnreachable(target, "no process on this machine was started with it", "give its admin port's URL")
    if not admin:
        raise TargetUnreachable(target, "no admin port of hasten in this process", "give its URL, if it has one")
    return admin


def _is_admin(place: Place) -> bool:
    try:
        fetch_story(place, _PROBE)
    except TargetUnreachable as error:
        return "token" in error.reason
    return True
