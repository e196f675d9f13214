"""The slow edition: five FastAPI services over REST, as many teams write them.

storefront is the public one; it asks catalog, pricing, stock and reviews. Each line that costs a user time
carries a `# fault:` comment and stands in faults.toml.
"""
