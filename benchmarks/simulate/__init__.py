"""`python -m benchmarks.simulate`: what a thousand instances do to each other, each by the policies that it has.

One machine shows what a policy costs, not what a thousand of them come to: whether retries of all clients add up to an
outage, whether balancers without a common view choose the same replica, whether limiters look anew at the same moment.
Here the policies are the product's own objects (`hasten.resilience`), driven by the clock of a simulated world
(`_world`); services, networks and people are simple models, which each study describes:

    _storm       a dependency that is slow for a while, and clients that retry
    _balancing   callers that choose among replicas, of which one becomes slow
    _limits      services that find their own limits in an overload that begins everywhere at once
    _chart       lines over time, as SVG
"""
