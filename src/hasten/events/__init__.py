"""Messages between services: published when the broker has them, handled at least once, retried, never lost unseen."""

from hasten._core.signals import (
    EventBacklog,
    EventBuried,
    EventDelivered,
    EventHandled,
    EventHook,
    EventPublished,
    EventRetried,
    EventSignal,
)
from hasten.events._asking import RequestFailed, Requests, RequestTimeout, answers
from hasten.events._broadcast import Broadcast
from hasten.events._broker import (
    Backlog,
    Broadcasting,
    Broker,
    Delivery,
    Inspection,
    Intake,
    Listening,
    Receive,
    Subscription,
)
from hasten.events._bus import Bus
from hasten.events._envelope import Envelope
from hasten.events._errors import BrokerError, BrokerUnavailable, PublishTimeout, Reject, Unroutable
from hasten.events._handler import Message
from hasten.events._once import AlreadyDone, Claim, Once, OnceUnavailable, Standing
from hasten.events._policy import Batch, RetryPolicy
from hasten.events._readiness import Check

__all__ = (
    "AlreadyDone",
    "Backlog",
    "Batch",
    "Broadcast",
    "Broadcasting",
    "Broker",
    "BrokerError",
    "BrokerUnavailable",
    "Bus",
    "Check",
    "Claim",
    "Delivery",
    "Envelope",
    "EventBacklog",
    "EventBuried",
    "EventDelivered",
    "EventHandled",
    "EventHook",
    "EventPublished",
    "EventRetried",
    "EventSignal",
    "Inspection",
    "Intake",
    "Listening",
    "Message",
    "Once",
    "OnceUnavailable",
    "PublishTimeout",
    "Receive",
    "Reject",
    "RequestFailed",
    "RequestTimeout",
    "Requests",
    "RetryPolicy",
    "Standing",
    "Subscription",
    "Unroutable",
    "answers",
)
