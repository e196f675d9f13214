"""The real servers that tests use: how each is found, started, seen to be ready, and ended.

`scripts/services` starts one of each for all tests. A test that stops, kills or freezes a server, or fills it up,
starts one of its own, in the same way:

    with Running(RABBITMQ, place, folder) as broker:
        broker.kill()
        broker.start()
        broker.await_ready()

`_server.py` has the parts, each other module a few servers. Standard library only, because this also runs where
nothing is installed yet.
"""

from servers._caches import MEMCACHED, REDIS, REDIS_CLUSTER
from servers._kafka import KAFKA, KafkaJars
from servers._postgres import POSTGRES
from servers._rabbitmq import RABBITMQ, rabbitmqctl
from servers._server import Command, DebianPackage, Running, Server, ServerFailed

# Those that take longest come first, so that they start beside the others.
SERVERS = (KAFKA, RABBITMQ, POSTGRES, REDIS_CLUSTER, REDIS, MEMCACHED)

__all__ = (
    "KAFKA",
    "MEMCACHED",
    "POSTGRES",
    "RABBITMQ",
    "REDIS",
    "REDIS_CLUSTER",
    "SERVERS",
    "Command",
    "DebianPackage",
    "KafkaJars",
    "Running",
    "Server",
    "ServerFailed",
    "rabbitmqctl",
)
