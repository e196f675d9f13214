"""Messages between services: published when the broker has them, handled at least once, retried, never lost unseen."""

from hasten.events._broker import Broker, Delivery, Intake, Receive, Subscription
from hasten.events._bus import Bus
from hasten.events._envelope import Envelope
from hasten.events._errors import BrokerError, BrokerUnavailable, PublishTimeout, Reject, Unroutable
from hasten.events._handler import Message
from hasten.events._once import AlreadyDone, Claim, Once, OnceUnavailable, Standing
from hasten.events._policy import Batch, RetryPolicy

__all__ = (
    "AlreadyDone",
    "Batch",
    "Broker",
    "BrokerError",
    "BrokerUnavailable",
    "Bus",
    "Claim",
    "Delivery",
    "Envelope",
    "Intake",
    "Message",
    "Once",
    "OnceUnavailable",
    "PublishTimeout",
    "Receive",
    "Reject",
    "RetryPolicy",
    "Standing",
    "Subscription",
    "Unroutable",
)
