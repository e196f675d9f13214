"""Every rule of the doctor, in the order of the codes: one file each, pure over syntax trees and accounts."""

from hasten.diagnose._rule import Rule
from hasten.diagnose.rules.base_http_middleware import BaseHttpMiddleware
from hasten.diagnose.rules.blocking_call import BlockingCall
from hasten.diagnose.rules.client_per_request import ClientPerRequest
from hasten.diagnose.rules.double_validation import DoubleValidation
from hasten.diagnose.rules.garbage_collection import GarbageCollection
from hasten.diagnose.rules.httpx_between_services import HttpxBetweenServices
from hasten.diagnose.rules.lock_wait import LockWait
from hasten.diagnose.rules.long_step import LongStep
from hasten.diagnose.rules.missing_timeout import MissingTimeout
from hasten.diagnose.rules.n_plus_one import NPlusOne
from hasten.diagnose.rules.repeated_call import RepeatedCall
from hasten.diagnose.rules.sequential_awaits import SequentialAwaits
from hasten.diagnose.rules.sync_dependency import SyncDependency
from hasten.diagnose.rules.thread_pool_queue import ThreadPoolQueue
from hasten.diagnose.rules.unread_wait import UnreadWait

RULES: tuple[Rule, ...] = (
    BlockingCall(),  # HS101
    LongStep(),  # HS102
    UnreadWait(),  # HS103
    GarbageCollection(),  # HS104
    ThreadPoolQueue(),  # HS201
    SyncDependency(),  # HS202
    LockWait(),  # HS203
    NPlusOne(),  # HS301
    SequentialAwaits(),  # HS302
    ClientPerRequest(),  # HS303
    RepeatedCall(),  # HS304
    MissingTimeout(),  # HS305
    HttpxBetweenServices(),  # HS306
    BaseHttpMiddleware(),  # HS401
    DoubleValidation(),  # HS402
)

__all__ = ("RULES",)
