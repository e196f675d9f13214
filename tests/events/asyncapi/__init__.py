"""The official JSON Schema of AsyncAPI 3.0.0, and what is needed to check a document by it.

`asyncapi-3.0.0.json` is `schemas/3.0.0-without-$id.json` of the npm package @asyncapi/specs 6.11.1, unchanged; its
licence (Apache-2.0) and notice are beside it.
"""
