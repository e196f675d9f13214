"""What the public is told when a call to another service fails.

Only NOT_FOUND and FAILED_PRECONDITION are the caller's affair, and their text is written for it. The rest says no more
than whether trying again may help; what really happened is for the log.
"""

import logging
from typing import Any

import grpc.aio
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from grpc import StatusCode

from examples.shop.fast.models import Problem

OF_THE_CALLER = {StatusCode.NOT_FOUND: 404, StatusCode.FAILED_PRECONDITION: 409}
OF_THE_SHOP = {
    StatusCode.UNAVAILABLE: (503, "a part of the shop is not available"),
    StatusCode.RESOURCE_EXHAUSTED: (503, "the shop has too much to do"),
    StatusCode.DEADLINE_EXCEEDED: (504, "a part of the shop takes too long"),
}
DESCRIPTIONS = {
    402: "The payment was declined.",
    404: "There is no such product.",
    409: "Not enough pieces are in stock.",
    503: "Another service is not available; try again later.",
    504: "Another service takes too long; try again later.",
}

logger = logging.getLogger("shop.storefront")


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return what the OpenAPI document says of these statuses."""
    return {status: {"model": Problem, "description": DESCRIPTIONS[status]} for status in statuses}


async def call_failed(_: Request, error: Exception) -> JSONResponse:
    """Answer for a failed call, also when it is the first of a task group's; anything else is a bug and goes on up."""
    cause = first_of(error)
    if not isinstance(cause, grpc.aio.AioRpcError):
        raise error
    code = cause.code()
    if code in OF_THE_CALLER:
        return JSONResponse({"detail": cause.details()}, OF_THE_CALLER[code])
    if code not in OF_THE_SHOP:
        raise error
    logger.warning("call failed: %s: %s", code.name, cause.details())
    status, detail = OF_THE_SHOP[code]
    return JSONResponse({"detail": detail}, status)


def first_of(error: Exception) -> Exception:
    """Return the first error of a group (of groups); an error that is no group is itself the first."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


def answer_failures(app: FastAPI) -> None:
    """Let the app answer failed calls."""
    app.add_exception_handler(grpc.aio.AioRpcError, call_failed)
    app.add_exception_handler(ExceptionGroup, call_failed)
