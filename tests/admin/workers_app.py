"""The app that the workers of `test_aggregate` serve; `HASTEN_TEST_ADMIN` says where their admin ports begin."""

import os

from fastapi import FastAPI

import hasten

app = FastAPI()


@app.get("/hit")
async def hit() -> int:
    """Return the process that has answered."""
    return os.getpid()


if "HASTEN_TEST_ADMIN" in os.environ:
    hasten.install(app, service="workers", admin=os.environ["HASTEN_TEST_ADMIN"])
