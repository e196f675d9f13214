"""FastAPI on uvicorn with uvloop and httptools: routes that take and return a protobuf body.

HTTP/1.1 has no deadline on the wire, so only the client keeps it; the route reads the traceparent.
"""

from fastapi import FastAPI, Request, Response

from benchmarks._child import serve
from benchmarks.rpc._orders import TRACEPARENT, answer
from benchmarks.rpc.echo_pb2 import Order

MEDIA_TYPE = "application/x-protobuf"
SAY, SAY_IN_TIME = "/say", "/say-in-time"
IDLE_SECONDS = 24 * 3600
"""How long a connection may be idle: for the whole run, since it is while other subjects have their turns."""


def serve_fastapi() -> None:
    """Serve on a free port."""
    serve(_build_app(), keep_alive=IDLE_SECONDS)


def _build_app() -> FastAPI:
    app = FastAPI()

    @app.post(SAY)
    async def say(request: Request) -> Response:
        return _response(await request.body())

    @app.post(SAY_IN_TIME)
    async def say_in_time(request: Request) -> Response:
        if TRACEPARENT not in request.headers:
            return Response(status_code=400)
        return _response(await request.body())

    return app


def _response(body: bytes) -> Response:
    return Response(answer(Order.FromString(body)).SerializeToString(), media_type=MEDIA_TYPE)
