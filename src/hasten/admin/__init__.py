"""The admin port: health, metrics, and where time goes, from a second thread that answers while the loop is stuck.

_address    where, and who may ask
_server     the thread
_app        the answers
_admin      all of it, for one process
"""

from hasten.admin._address import DEFAULT_ADMIN, NO_ADMIN, AdminAddress, parse_address
from hasten.admin._admin import Admin
from hasten.admin._aggregate import Aggregate
from hasten.admin._ask import Reply, ask_all

__all__ = (
    "DEFAULT_ADMIN",
    "NO_ADMIN",
    "Admin",
    "AdminAddress",
    "Aggregate",
    "Reply",
    "ask_all",
    "parse_address",
)
