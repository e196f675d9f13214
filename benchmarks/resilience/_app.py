"""What is served: FastAPI's hello, and an ASGI app that has the same answer ready."""

from typing import Any

from fastapi import FastAPI

from benchmarks._child import die_with_parent

PATH = "/"
BODY = b'{"message":"Hello World"}'

_START: dict[str, Any] = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-length", b"%d" % len(BODY)), (b"content-type", b"application/json")],
}
_BODY: dict[str, Any] = {"type": "http.response.body", "body": BODY}

app = FastAPI()


@app.get(PATH)
async def hello() -> dict[str, str]:
    """Answer as FastAPI's first page does."""
    return {"message": "Hello World"}


def app_that_dies_with_its_server() -> FastAPI:
    """Return the app, in a process that ends when the one does which has started it."""
    die_with_parent()
    return app


async def bare(scope: Any, receive: Any, send: Any) -> None:
    """Answer what is ready; no lifespan."""
    if scope["type"] != "http":
        raise NotImplementedError
    await send(_START)
    await send(_BODY)
