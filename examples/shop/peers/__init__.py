"""The peers' edition: the fast one's API, data, queries and processes, with the best of the popular libraries.

It is what the fast edition is measured against, so each part is tuned as its documentation and its source say:

- FastAPI on uvicorn with uvloop and httptools, no access log. Routes return the bytes that are kept, with
  `response_model` for the OpenAPI document alone, and take what they need from `app.state`, which costs less than
  `Depends`; `ResponseTime` is plain ASGI.
- `backends`, `serving`: grpc.aio on uvloop, one channel to each service for the life of the process, connected before
  the first request; `grpc.keepalive_*` on both ends, a deadline on each call, one call for all prices of a page.
- `freshness`, `product_page`, `listings`: cashews. In memory, or with Redis its `client_side=True`: hits are in memory,
  Redis tells what has changed. `early` renews behind the caller's back, what orders change has a second of its own;
  `check_interval=0` (no sweep through all entries), `check_repr=False`, bodies as bytes, pages `protected` against
  stampedes, product and reviews in one entry.
- `reviews` keeps the average of a category, which is most of its time.
- `partners`: one aiohttp session, whose idle connections (`keepalive_timeout`) end before the server's.
- `orders`, `outbox`, `deliveries`: an order's event is written with it and handed on at once, and again if need be.
- `brokers`, `consumers`, `mail`, `sales`: FastStream, over aio-pika (quorum queues, confirms, `prefetch_count=100`) or
  aiokafka (`acks="all"`, `batch=True`, so that a partition's mails go at once); `apply_types=False`, no log line for
  each message; stamina tries again. Without a broker the storefront handles events: FastStream's own is for tests.
- prometheus-fastapi-instrumentator at `/metrics`, with one histogram; OpenTelemetry is off.

It shares `models`, `database`, `reports`, `failures` and `response_time` with the fast edition, which need no library
that is compared here, and has its services' messages from `examples/shop/proto`.

The one thing that the public can tell: after an order, another storefront may show what was before for a second (see
`freshness`); the fast edition never does.
"""
