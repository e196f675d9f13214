"""The shop: one data set and one public API, built several times, each time in another style.

`slow/` is what many teams really write, with every fault listed in `slow/faults.toml`. `fast/` is the same shop
rebuilt: gRPC between services, batch calls, independent calls together, blocking work off the loop, a cache that shows
nobody what was before an order, events for what need not be done before an order is answered; same answers. `peers/` is
what the popular libraries make of the same, tuned as their documentation says; `fast/` is measured against it.
`python -m examples.shop slow` starts an edition as real processes; `plan.toml` is the load for it.
"""
