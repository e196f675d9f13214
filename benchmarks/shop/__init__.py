"""The shop's editions under one plan: what a request costs all processes of an edition together, and how long it takes.

_edition    an edition's processes: on the server's core, but for the third parties, which are on the client's
_ready      what no edition can beat: the answers, ready to be sent
popular.toml   the plan: the mix of examples/shop/plan.toml, some products and searches wanted more than others
"""
