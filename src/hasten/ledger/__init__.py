"""The ledger: one account per request of where each millisecond of its time went.

A task factory runs the tasks of sampled requests under a driver that times each of their steps and names the await at
each suspension (`_factory`, `_drive`, `_sites`); a watchdog names the line that holds the loop (`_watchdog`); when the
response is complete the records become an account (`_attribution`, `_accountant`), which listeners get and statistics
add up. docs/explanation/ledger.md tells how and what it costs.
"""

from hasten.ledger._account import Account, Call, Kind, Line, Site
from hasten.ledger._asgi import LedgerApp, recording_layer
from hasten.ledger._capture import Captured, StackCapture
from hasten.ledger._factory import is_root
from hasten.ledger._install import install, ledger_of
from hasten.ledger._ledger import Ledger, Listener
from hasten.ledger._recorder import Recorder, read_accounts
from hasten.ledger._records import recorded_since
from hasten.ledger._statistics import EndpointStatistics, LineStatistics, Totals
from hasten.ledger._tally import CapturedStack
from hasten.ledger._work import WorkRecorder

__all__ = (
    "Account",
    "Call",
    "Captured",
    "CapturedStack",
    "EndpointStatistics",
    "Kind",
    "Ledger",
    "LedgerApp",
    "Line",
    "LineStatistics",
    "Listener",
    "Recorder",
    "Site",
    "StackCapture",
    "Totals",
    "WorkRecorder",
    "install",
    "is_root",
    "ledger_of",
    "read_accounts",
    "recorded_since",
    "recording_layer",
)
