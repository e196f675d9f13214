"""What is known about libraries: which calls give which types, and which of them block.

Data alone. A type is a dotted name; where a library's own is awkward (`psycopg2.extensions.connection`) a
plain one stands for it (`psycopg2.Connection`).
"""

from typing import Final

_HTTP_VERBS: Final = ("get", "post", "put", "patch", "delete", "head", "options", "request")

ALIASES: Final[dict[str, str]] = {
    "redis.StrictRedis": "redis.Redis",
    "redis.client": "redis",
    "redis.asyncio.StrictRedis": "redis.asyncio.Redis",
    "redis.asyncio.client": "redis.asyncio",
    "aioredis.Redis": "redis.asyncio.Redis",
    "aioredis.from_url": "redis.asyncio.from_url",
    "requests.api": "requests",
    "requests.sessions.Session": "requests.Session",
    "requests.session": "requests.Session",
    "aiohttp.client.ClientSession": "aiohttp.ClientSession",
    "grpc.experimental.aio": "grpc.aio",
    "pymongo.mongo_client.MongoClient": "pymongo.MongoClient",
    "pymongo.database.Database": "pymongo.Database",
    "pymongo.collection.Collection": "pymongo.Collection",
    "motor.motor_asyncio.AsyncIOMotorClient": "motor.AsyncIOMotorClient",
    "psycopg2.extensions.connection": "psycopg2.Connection",
    "psycopg2.extensions.cursor": "psycopg2.Cursor",
    "pymysql.connections.Connection": "pymysql.Connection",
    "pymysql.cursors.Cursor": "pymysql.Cursor",
    "MySQLdb.connect": "pymysql.connect",
    "sqlalchemy.engine.Engine": "sqlalchemy.Engine",
    "sqlalchemy.engine.Connection": "sqlalchemy.Connection",
    "sqlalchemy.orm.session.Session": "sqlalchemy.orm.Session",
    "sqlalchemy.orm.session.sessionmaker": "sqlalchemy.orm.sessionmaker",
    "sqlmodel.Session": "sqlalchemy.orm.Session",
    "sqlmodel.create_engine": "sqlalchemy.create_engine",
    "concurrent.futures.thread.ThreadPoolExecutor": "concurrent.futures.ThreadPoolExecutor",
    "starlette.middleware.base.BaseHTTPMiddleware": "starlette.BaseHTTPMiddleware",
    "fastapi.middleware.base.BaseHTTPMiddleware": "starlette.BaseHTTPMiddleware",
    "fastapi.params.Depends": "fastapi.Depends",
    "fastapi.applications.FastAPI": "fastapi.FastAPI",
    "fastapi.routing.APIRouter": "fastapi.APIRouter",
    "starlette.applications.Starlette": "starlette.Starlette",
    "typing_extensions.Annotated": "typing.Annotated",
    "io.open": "open",
    "os.popen": "subprocess.getoutput",
    "pathlib.PosixPath": "pathlib.Path",
}
"""Other names of the same thing; also used for everything below them (`requests.api.get`)."""

RETURNS: Final[dict[str, str]] = {
    "sqlite3.connect": "sqlite3.Connection",
    "sqlite3.Connection.cursor": "sqlite3.Cursor",
    "sqlite3.Connection.execute": "sqlite3.Cursor",
    "sqlite3.Connection.executemany": "sqlite3.Cursor",
    "sqlite3.Cursor.execute": "sqlite3.Cursor",
    "psycopg2.connect": "psycopg2.Connection",
    "psycopg2.Connection.cursor": "psycopg2.Cursor",
    "psycopg.connect": "psycopg.Connection",
    "psycopg.Connection.connect": "psycopg.Connection",
    "psycopg.Connection.cursor": "psycopg.Cursor",
    "psycopg.Connection.execute": "psycopg.Cursor",
    "psycopg.AsyncConnection.connect": "psycopg.AsyncConnection",
    "psycopg_pool.ConnectionPool.connection": "psycopg.Connection",
    "pymysql.connect": "pymysql.Connection",
    "pymysql.Connection.cursor": "pymysql.Cursor",
    "asyncpg.connect": "asyncpg.Connection",
    "asyncpg.create_pool": "asyncpg.Pool",
    "asyncpg.Pool.acquire": "asyncpg.Connection",
    "redis.from_url": "redis.Redis",
    "redis.Redis.from_url": "redis.Redis",
    "redis.Redis.pipeline": "redis.Pipeline",
    "redis.asyncio.from_url": "redis.asyncio.Redis",
    "redis.asyncio.Redis.from_url": "redis.asyncio.Redis",
    "redis.asyncio.Redis.pipeline": "redis.asyncio.Pipeline",
    "pymongo.MongoClient[]": "pymongo.Database",
    "pymongo.MongoClient.get_database": "pymongo.Database",
    "pymongo.Database[]": "pymongo.Collection",
    "pymongo.Database.get_collection": "pymongo.Collection",
    "boto3.client": "boto3.Client",
    "boto3.resource": "boto3.Resource",
    "boto3.Session.client": "boto3.Client",
    "boto3.session.Session.client": "boto3.Client",
    "sqlalchemy.create_engine": "sqlalchemy.Engine",
    "sqlalchemy.Engine.connect": "sqlalchemy.Connection",
    "sqlalchemy.Engine.begin": "sqlalchemy.Connection",
    "sqlalchemy.orm.sessionmaker.__call__": "sqlalchemy.orm.Session",
    "sqlalchemy.orm.scoped_session.__call__": "sqlalchemy.orm.Session",
    "sqlalchemy.orm.Session.query": "sqlalchemy.orm.Query",
    "sqlalchemy.orm.Query.filter": "sqlalchemy.orm.Query",
    "sqlalchemy.orm.Query.filter_by": "sqlalchemy.orm.Query",
    "sqlalchemy.orm.Query.join": "sqlalchemy.orm.Query",
    "sqlalchemy.orm.Query.order_by": "sqlalchemy.orm.Query",
    "sqlalchemy.orm.Query.limit": "sqlalchemy.orm.Query",
    "sqlalchemy.orm.Query.offset": "sqlalchemy.orm.Query",
    "sqlalchemy.orm.Query.options": "sqlalchemy.orm.Query",
    "sqlalchemy.ext.asyncio.create_async_engine": "sqlalchemy.ext.asyncio.AsyncEngine",
    "sqlalchemy.ext.asyncio.async_sessionmaker.__call__": "sqlalchemy.ext.asyncio.AsyncSession",
    "concurrent.futures.ThreadPoolExecutor.submit": "concurrent.futures.Future",
    "concurrent.futures.ProcessPoolExecutor.submit": "concurrent.futures.Future",
    "asyncio.run_coroutine_threadsafe": "concurrent.futures.Future",
    "pathlib.Path.cwd": "pathlib.Path",
    "pathlib.Path.home": "pathlib.Path",
    "pathlib.Path.parent": "pathlib.Path",
    "pathlib.Path.resolve": "pathlib.Path",
    "pathlib.Path.absolute": "pathlib.Path",
    "pathlib.Path.joinpath": "pathlib.Path",
    "pathlib.Path.with_suffix": "pathlib.Path",
    "pathlib.Path.with_name": "pathlib.Path",
    "socket.create_connection": "socket.socket",
    "smtplib.SMTP.__enter__": "smtplib.SMTP",
    "grpc.aio.insecure_channel": "grpc.aio.Channel",
    "grpc.aio.secure_channel": "grpc.aio.Channel",
    "Depends": "",
}
"""The type that a call, attribute (`pathlib.Path.parent`) or subscript (`pymongo.Database[]`) gives."""

PASS_THROUGH: Final = frozenset(
    {
        "contextlib.closing",
        "contextlib.aclosing",
        "typing.cast",
        "copy.copy",
        "asyncio.wait_for",
        "asyncio.shield",
    }
)
"""Calls whose result has the type of their first argument."""

WRAPPERS: Final = frozenset(
    {
        "typing.Optional", "typing.Union", "typing.Final", "typing.ClassVar", "typing.Awaitable",
        "typing.Iterator", "typing.Generator", "typing.AsyncIterator", "typing.AsyncGenerator",
        "collections.abc.Iterator", "collections.abc.Generator", "collections.abc.AsyncIterator",
        "collections.abc.AsyncGenerator", "collections.abc.Awaitable"
    }
)  # fmt: skip
"""Annotations that mean what is inside their brackets."""

DEPENDS: Final = frozenset({"fastapi.Depends", "fastapi.Security"})

BLOCKING_METHODS: Final[dict[str, tuple[str, ...]]] = {
    "requests": _HTTP_VERBS,
    "requests.Session": (*_HTTP_VERBS, "send"),
    "httpx": (*_HTTP_VERBS, "stream"),
    "httpx.Client": (*_HTTP_VERBS, "send", "stream"),
    "urllib.request": ("urlopen", "urlretrieve"),
    "urllib3": ("request",),
    "urllib3.PoolManager": ("request", "urlopen"),
    "http.client.HTTPConnection": ("request", "getresponse", "connect"),
    "http.client.HTTPSConnection": ("request", "getresponse", "connect"),
    "sqlite3": ("connect",),
    "sqlite3.Connection": ("execute", "executemany", "executescript", "commit", "backup"),
    "sqlite3.Cursor": ("execute", "executemany", "executescript", "fetchone", "fetchall", "fetchmany"),
    "psycopg2": ("connect",),
    "psycopg2.Connection": ("commit", "rollback"),
    "psycopg2.Cursor": ("execute", "executemany", "fetchone", "fetchall", "fetchmany", "callproc"),
    "psycopg": ("connect",),
    "psycopg.Connection": ("connect", "execute", "commit", "rollback"),
    "psycopg.Cursor": ("execute", "executemany", "fetchone", "fetchall", "fetchmany"),
    "pymysql": ("connect",),
    "pymysql.Connection": ("commit", "rollback", "ping"),
    "pymysql.Cursor": ("execute", "executemany", "fetchone", "fetchall", "fetchmany"),
    "sqlalchemy.Engine": ("connect", "begin"),
    "sqlalchemy.Connection": ("execute", "scalar", "scalars", "commit", "rollback"),
    "sqlalchemy.orm.Session": (
        "execute", "scalar", "scalars", "get", "commit", "flush", "refresh", "rollback", "merge", "exec",
    ),
    "sqlalchemy.orm.Query": ("all", "first", "one", "one_or_none", "count", "get", "scalar", "delete",
    "update"),
    "pymongo.Collection": (
        "find_one", "insert_one", "insert_many", "update_one", "update_many", "delete_one", "delete_many",
        "replace_one", "aggregate", "count_documents", "distinct", "bulk_write", "find_one_and_update",
    ),
    "elasticsearch.Elasticsearch": ("search", "get", "index", "bulk", "count", "update", "delete", "mget",
    "msearch"),
    "smtplib": ("SMTP", "SMTP_SSL"),
    "smtplib.SMTP": ("sendmail", "send_message", "login", "starttls", "connect"),
    "ftplib.FTP": ("connect", "login", "retrbinary", "storbinary"),
    "subprocess": ("run", "call", "check_call", "check_output", "getoutput", "getstatusoutput"),
    "subprocess.Popen": ("wait", "communicate"),
    "os": ("system", "wait", "waitpid"),
    "time": ("sleep",),
    "socket": ("getaddrinfo", "gethostbyname", "gethostbyname_ex", "gethostbyaddr", "create_connection"),
    "threading.Lock": ("acquire",),
    "threading.RLock": ("acquire",),
    "threading.Semaphore": ("acquire",),
    "threading.BoundedSemaphore": ("acquire",),
    "threading.Condition": ("acquire", "wait", "wait_for"),
    "threading.Event": ("wait",),
    "threading.Barrier": ("wait",),
    "threading.Thread": ("join",),
    "queue.Queue": ("get", "put", "join"),
    "queue.SimpleQueue": ("get",),
    "concurrent.futures.Future": ("result", "exception"),
    "concurrent.futures": ("wait",),
    "pathlib.Path": ("open", "read_text", "read_bytes", "write_text", "write_bytes"),
    "shutil": ("copy", "copyfile", "copytree", "move", "rmtree"),
    "pandas": ("read_csv", "read_sql", "read_parquet", "read_excel", "read_json"),
}  # fmt: skip
"""Functions of a module or methods of a type that hold the thread until something outside answers."""

EVERY_METHOD_BLOCKS: Final = frozenset({"redis.Redis", "boto3.Client", "pymemcache.client.base.Client"})
"""Types of which every method is a round trip, but for those in `LOCAL_METHODS`."""

LOCAL_METHODS: Final = frozenset(
    {
        "pipeline", "from_url", "register_script", "get_connection_kwargs", "get_encoder", "lock", "pubsub",
        "close", "can_paginate", "get_paginator", "get_waiter", "meta", "exceptions",
        "generate_presigned_url"
    }
)  # fmt: skip

COMPUTING_CALLS: Final = frozenset(
    {
        "bcrypt.hashpw", "bcrypt.checkpw", "hashlib.pbkdf2_hmac", "hashlib.scrypt",
        "argon2.PasswordHasher.hash",
        "argon2.PasswordHasher.verify",
    }
)  # fmt: skip
"""Calls that compute for tens of milliseconds by purpose."""

OTHER_BLOCKING: Final = frozenset({"open", "input", "redis.Pipeline.execute"})

CLIENTS: Final = frozenset(
    {
        "httpx.AsyncClient", "httpx.Client", "aiohttp.ClientSession", "requests.Session",
        "redis.asyncio.Redis", "redis.asyncio.from_url", "redis.asyncio.Redis.from_url", "redis.Redis",
        "redis.from_url", "redis.Redis.from_url", "grpc.aio.insecure_channel", "grpc.aio.secure_channel",
        "grpc.insecure_channel", "grpc.secure_channel", "asyncpg.connect", "asyncpg.create_pool",
        "psycopg.connect", "psycopg2.connect", "psycopg.AsyncConnection.connect", "pymysql.connect",
        "pymongo.MongoClient", "pymongo.AsyncMongoClient", "motor.AsyncIOMotorClient",
        "sqlalchemy.create_engine", "sqlalchemy.ext.asyncio.create_async_engine", "boto3.client",
        "boto3.resource", "elasticsearch.Elasticsearch", "elasticsearch.AsyncElasticsearch",
        "aio_pika.connect", "aio_pika.connect_robust", "aiokafka.AIOKafkaProducer", "nats.connect"
    }
)  # fmt: skip
"""Constructors that open connections: a handshake, often with TLS, before the first byte of work."""

SHARED_CLIENTS: Final = frozenset(
    {"httpx.AsyncClient", "aiohttp.ClientSession", "redis.asyncio.Redis", "asyncpg.Pool", "grpc.aio.Channel"}
)
"""Async clients whose calls may run side by side."""

EXCLUSIVE_CLIENTS: Final = frozenset(
    {
        "asyncpg.Connection", "psycopg.AsyncConnection", "sqlalchemy.ext.asyncio.AsyncSession",
        "sqlalchemy.ext.asyncio.AsyncConnection", "sqlmodel.ext.asyncio.session.AsyncSession",
        "aiosqlite.Connection", "redis.asyncio.Pipeline", "asyncio.StreamReader", "asyncio.StreamWriter",
        "asyncio.Queue", "fastapi.Request", "starlette.requests.Request", "fastapi.WebSocket",
        "starlette.websockets.WebSocket", "fastapi.UploadFile"
    }
)  # fmt: skip
"""Async objects that serve one call at a time: two awaits on one of them cannot run side by side."""


def canonical(dotted: str) -> str:
    """Return the one name under which the tables above know a function or class."""
    head, rest = dotted, ""
    while head:
        if head in ALIASES:
            return canonical(ALIASES[head] + rest)
        head, dot, last = head.rpartition(".")
        rest = f"{dot}{last}{rest}"
    return dotted


def blocks(dotted: str) -> bool:
    """Tell whether a call of that name holds the thread."""
    if dotted in OTHER_BLOCKING or dotted in COMPUTING_CALLS:
        return True
    owner, _, name = dotted.rpartition(".")
    if owner in EVERY_METHOD_BLOCKS:
        return name not in LOCAL_METHODS and not name.startswith("_")
    return name in BLOCKING_METHODS.get(owner, ())
