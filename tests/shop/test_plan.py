"""The shop's load plan is one that the load generator takes, and it asks for all that the shop can do."""

from examples.shop.launcher import ROOT
from hasten.load import Plan


def test_plan() -> None:
    """The plan is valid and asks for every public endpoint, product pages most."""
    plan = Plan.from_file(ROOT / "examples" / "shop" / "plan.toml").checked()
    weights = {kind.name: kind.weight for kind in plan.requests}
    assert weights.keys() == {"product", "search", "report", "order"}
    assert max(weights, key=lambda name: weights[name]) == "product"
