"""The fast edition: the slow one's API and data, rebuilt the hasten way.

storefront speaks HTTP with the public and gRPC with catalog, pricing, stock and reviews. Read it in this order:

- `storefront` has the routes, `product_page`, `orders` and `reports` what they do;
- `backends` calls the gRPC services, `partners` the third parties; `failures` says what the public is told;
- `catalog`, `pricing`, `stock` and `reviews` are the services, which `serving` runs as processes;
- `freshness` says what is kept and how an order ends that, `page_parts` keeps what pages are made of, `message_codec`
  puts messages into Redis, `announcements` tell others where there is none;
- `events` says what follows from an order, `deliveries` brings it out of the database, `consumers` run `mail` and
  `sales`;
- `database` keeps blocking work off the event loop, `settings` reads the environment.

The services' messages are in `examples/shop/proto`.
"""
